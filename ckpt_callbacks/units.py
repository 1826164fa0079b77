"""Durations, sizes, moments and numbers, as people write them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import TypeGuard

from .errors import PolicyError

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SECONDS_IN = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
}
_BYTES_IN = {"B": 1, "KB": 1000}
_BYTES_IN |= {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", start=1)}
_BYTES_IN |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", start=1)}
# Few enough digits that no number overflows a float or takes long to parse.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_AMOUNT = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")

# For editors that check a file as it is typed.
DURATION_PATTERN = rf"^{_NUMBER} ?({'|'.join(_SECONDS_IN)})$"
SIZE_PATTERN = rf"^{_NUMBER} ?({'|'.join(_BYTES_IN)})$"
RATE_PATTERN = rf"^{_NUMBER} ?({'|'.join(_BYTES_IN)})(/s)?$"

# The expectations in error messages, here and in the configuration.
_AS_SECONDS = "seconds, or text such as 30 s, 10 min, 1.5 h or 2 d"
DURATION, POSITIVE_DURATION = f"a duration of at least 0: {_AS_SECONDS}", f"a duration above 0: {_AS_SECONDS}"
SIZE = "a size: whole bytes, or text such as 500 MB, 5 GB or 2 GiB"
RATE = "a rate above 0: whole bytes per second, or text such as 500 kB or 10 MB/s"
MOMENT = "a moment: UTC seconds since 1970, or a date and time with its offset, such as 2026-11-24T23:00:00Z"


def seconds(n: float) -> float:
    """Return ``n`` seconds in seconds, for symmetry with `minutes` and `hours`.

    Raises:
        PolicyError: ``n`` is negative or not finite.
    """
    return _duration("seconds", n, 1)


def minutes(n: float) -> float:
    """Return ``n`` minutes in seconds: ``minutes(10)`` is 600.0.

    Raises:
        PolicyError: ``n`` is negative or not finite.
    """
    return _duration("minutes", n, _MINUTE)


def hours(n: float) -> float:
    """Return ``n`` hours in seconds: ``hours(0.5)`` is 1800.0.

    Raises:
        PolicyError: ``n`` is negative or not finite.
    """
    return _duration("hours", n, _HOUR)


def as_seconds(value: object, what: str = "duration", *, positive: bool = False) -> float:
    """Return a duration in seconds.

    Args:
        value: A number of seconds; or text with a unit: s, min, h or d, or another usual form of it, as in
            ``"10 minutes"``, ``"10 mins"`` and ``"10m"``.
        what: The value's name in the error.
        positive: Also refuse 0.

    Raises:
        PolicyError: It is neither, or is negative or not finite.
    """
    amount = _read(value, _SECONDS_IN) if isinstance(value, str) else value if is_finite(value) else None
    if amount is None or amount < 0 or (positive and float(amount) == 0):
        raise PolicyError(f"{what} is {value!r}; expected {POSITIVE_DURATION if positive else DURATION}")
    return float(amount)


def as_bytes(value: object, what: str = "size") -> int:
    """Return a size in bytes, rounded down.

    Args:
        value: A whole number of bytes, or a string with a unit: B, kB, MB, GB, TB or PB, where 1 kB is 1000 B, or KiB,
            MiB, GiB, TiB or PiB, where 1 KiB is 1024 B.
        what: The value's name in the error.

    Raises:
        PolicyError: It is neither, or is negative.
    """
    amount: Fraction | int | None = None
    if isinstance(value, str):
        amount = _read(value, _BYTES_IN)
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = value
    if amount is None or amount < 0:
        raise PolicyError(f"{what} is {value!r}; expected {SIZE}")
    return int(amount)


def as_rate(value: object, what: str = "rate") -> int:
    """Return a rate in bytes per second, rounded down.

    Args:
        value: A whole number of bytes, or text as for `as_bytes`, perhaps with ``/s`` at its end.
        what: The value's name in the error.

    Raises:
        PolicyError: It is neither, or is below 1.
    """
    try:
        rate = as_bytes(value.removesuffix("/s") if isinstance(value, str) else value)
    except PolicyError:
        rate = 0
    if not rate:
        raise PolicyError(f"{what} is {value!r}; expected {RATE}")
    return rate


def as_utc(value: object, what: str = "moment") -> float:
    """Return a moment in UTC seconds since 1970.

    Args:
        value: Such a number; or a datetime, or text in ISO 8601 form, with its offset from UTC.
        what: The value's name in the error.

    Raises:
        PolicyError: It is none of these, or has no offset, without which the text means different moments in different
            time zones.
    """
    moment: object = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", value))  # Python 3.10 does not accept Z
        except ValueError:
            moment = None
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise PolicyError(f"{what} is {str(value)!r}, which has no offset from UTC; expected {MOMENT}")
        moment = moment.timestamp()
    if not is_finite(moment) or moment <= 0:
        raise PolicyError(f"{what} is {value!r}; expected {MOMENT}")
    return float(moment)


def in_words(duration: float) -> str:
    """Return seconds in the largest unit that divides them: ``10 minutes``, ``1 hour``, ``90 seconds``."""
    for name, size in (("hour", _HOUR), ("minute", _MINUTE)):
        if duration >= size and duration % size == 0:
            return _counted(duration / size, name)
    return _counted(duration, "second")


def roughly(duration: float) -> str:
    """Return seconds in the unit that fits, to three digits: ``32 ms``, ``0.32 s``, ``1.95 min``, ``3 h``."""
    if 0 < duration < 0.1:
        return f"{1000 * duration:.3g} ms"
    for name, size, next_size in (("s", 1, _MINUTE), ("min", _MINUTE, _HOUR), ("h", _HOUR, _DAY)):
        if duration < next_size:
            return f"{duration / size:.3g} {name}"
    return f"{duration / _DAY:.3g} d"


def rough_size(count: int) -> str:
    """Return a number of bytes in the unit that fits: ``999 bytes``, ``1.2 GB``."""
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    power = min((len(str(count)) - 1) // 3, 5)
    return f"{count / 1000**power:,.1f} {'kMGTP'[power - 1]}B"


def exact_size(count: int) -> str:
    """Return a number of bytes in the largest unit that divides it: ``5 GB``, ``2 GiB``, ``1234567 B``."""
    sizes = sorted(((size, name) for name, size in _BYTES_IN.items() if name != "KB"), reverse=True)
    size, name = next((size, name) for size, name in sizes if count % size == 0)
    return f"{count // size} {name}"


def _counted(n: float, unit: str) -> str:
    return f"{n:.15g} {unit}{'' if n == 1 else 's'}"


def _duration(unit: str, n: object, size: int) -> float:
    if not is_finite(n) or n < 0 or not is_finite(n * size):
        raise PolicyError(f"{unit}: got {n!r}; expected a finite number of at least 0")
    return float(n * size)


def format_number(number: float) -> str:
    """Return the number in full, and the same text for 20 and 20.0, so that it can be part of a name or a key."""
    return str(int(number)) if number == int(number) else str(number)


def is_count(value: object, least: int = 1) -> TypeGuard[int]:
    """Return whether ``value`` is a whole number of at least ``least``; ``True`` is not one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_count(where: str, field: str, value: object, least: int = 1) -> None:
    """Raise `PolicyError` unless ``value`` is a whole number of at least ``least``."""
    if not is_count(value, least):
        raise PolicyError(f"{where}: {field} is {value!r}; expected a whole number of at least {least}")


def is_finite(value: object) -> TypeGuard[int | float]:
    """Return whether ``value`` is a finite number; ``True`` and ``False`` are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max  # whole numbers may be too large for math.isfinite


def _read(text: str, units: Mapping[str, int]) -> Fraction | None:
    found = _AMOUNT.fullmatch(text)
    if found is None or found[2] not in units:
        return None
    return Fraction(found[1]) * units[found[2]]  # a fraction, because a float cannot represent 0.1 exactly
