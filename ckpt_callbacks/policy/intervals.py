"""Intervals of epochs, steps and training time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from ..errors import PolicyError
from ..events import Event
from ..record import Record
from ..units import as_seconds, check_count, format_number, is_finite
from .horizon import NEVER, Horizon

_SECONDS_IN = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
SHARE = "overhead"  # of the training time
_COUNTED = re.compile(r"(\d*) ?(epoch|step)s?")  # texts that mean no time
_ROUNDING = 1e-12  # relative error by which a moment may be computed too late; thresholds are counted differently


@dataclass(frozen=True)
class Interval:
    """A distance between two saves, or between two checkpoints that are kept.

    Attributes:
        unit: ``epochs``, ``steps``, ``seconds``, ``minutes`` or ``hours``; or ``overhead``, a share of the training
            time, which determines the distance once the cost of a save is known.
        n: How many of them.
    """

    unit: str
    n: float

    @classmethod
    def given(cls, rule: Any) -> Interval:
        """Return the one interval that is set among the fields of a rule, a dataclass.

        Raises:
            PolicyError: No interval is set, or several are, or its value makes no sense.
        """
        where = type(rule).__name__
        names = [field.name for field in fields(rule) if not field.kw_only]  # such a field is no interval
        found = [(name, value) for name in names if (value := getattr(rule, name)) is not None]
        if len(found) != 1:
            received = ", ".join(f"{name}={value!r}" for name, value in found) or "none"
            expected = ", ".join(names)
            raise PolicyError(f"{where}: got {received}; expected exactly one of {expected}")
        return cls.checked(where, *found[0])

    @classmethod
    def checked(cls, where: str, unit: str, n: object) -> Interval:
        """Return an interval of ``n``: finite and positive, whole for epochs and steps, below 1 for a share.

        Raises:
            PolicyError: ``n`` is out of range; the message begins with ``where``.
        """
        if unit not in (*_SECONDS_IN, SHARE):
            check_count(where, unit, n)
        if unit == SHARE and not (is_finite(n) and 0 < n < 1):
            raise PolicyError(f"{where}: {unit} is {n!r}; expected a share above 0 and below 1, such as 0.01")
        if not is_finite(n) or n <= 0:
            hint = f", or {where}({n!r})" if isinstance(n, str) and seconds_of(n) else ""
            raise PolicyError(f"{where}: {unit} is {n!r}; expected a positive number{hint}")
        return cls(unit, n)

    @property
    def is_clocked(self) -> bool:
        """Whether it is measured by a clock."""
        return self.unit in _SECONDS_IN or self.unit == SHARE

    def count(self, place: Event | Record) -> float:
        """Return how many whole intervals a run has completed at an event, or at a checkpoint."""
        if self.unit in _SECONDS_IN:
            return place.time / _SECONDS_IN[self.unit] // self.n
        return (place.epoch if self.unit == "epochs" else place.step) // self.n

    def end_of(self, count: float) -> Horizon:
        """Return when the interval with this number, from 1, is complete; if in doubt, slightly too early.

        No interval of epochs ends within an epoch.
        """
        if self.unit in _SECONDS_IN:
            return Horizon(time=count * self.n * _SECONDS_IN[self.unit] * (1 - _ROUNDING))
        return Horizon(step=count * self.n) if self.unit == "steps" else NEVER

    def describe(self) -> str:
        """Return the interval in words: ``every 5 epochs``."""
        return f"every {format_number(self.n)} {self.unit[:-1] if self.n == 1 else self.unit}"

    def __str__(self) -> str:
        return f"{self.unit}={format_number(self.n)}"


def accept_duration(rule: Any) -> None:
    """Turn a duration with its unit, such as ``"20 min"``, into the fields of a rule, whose first argument it is.

    Args:
        rule: A dataclass with fields for intervals, of which at least one is a time.

    Raises:
        PolicyError: It is a text of another kind.
    """
    first, *others = (field.name for field in fields(rule) if not field.kw_only)
    text, where = getattr(rule, first), type(rule).__name__
    if not isinstance(text, str) or any(getattr(rule, name) is not None for name in others):
        return
    found = seconds_of(text)
    if found is None:
        counted = _COUNTED.fullmatch(text)
        example = f"{counted[2]}s={counted[1] or 1}" if counted is not None and others else f"{first}=1"
        raise PolicyError(
            f"{where}: {first} is {text!r}; expected a duration in s, min, h or d, such as '20 min', or "
            f"{'one of ' if others else ''}{', '.join((first, *others))}, as in {where}({example})"
        )
    object.__setattr__(rule, first, None)
    object.__setattr__(rule, *_largest_unit(found, (first, *others)))


def seconds_of(text: str) -> float | None:
    """Return a duration above 0 with its unit in seconds; None if the text is none."""
    try:
        return as_seconds(text, positive=True)
    except PolicyError:
        return None


def _largest_unit(seconds: float, known: Iterable[str]) -> tuple[str, float]:
    """Return a duration as a whole number of the largest unit, or else as a fraction of the smallest one."""
    units = sorted((unit for unit in known if unit in _SECONDS_IN), key=lambda unit: -_SECONDS_IN[unit])
    unit = next((unit for unit in units if seconds % _SECONDS_IN[unit] == 0), units[-1])
    return unit, seconds / _SECONDS_IN[unit]
