"""File names from a template.

Names are for people only: the facts are in the manifest, and no code parses a name.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..errors import PolicyError
from ..record import ALIASES, Record

DEFAULT = "{model}-{epoch:03d}-{step}"
# The fields that are always known, each with a value of the right type to test a format with.
BUILT_IN: dict[str, Any] = {
    "model": "model", "run": "run", "epoch": 1, "step": 1, "attempt": 1, "date": "20260101", "time": "000000",
}  # fmt: skip
FROM_METADATA = ("dataset", "seed")
_UNSAFE = re.compile(r"[^\w.+=,@-]+", re.ASCII)
_LONGEST = 180  # file systems allow 255 bytes; the version, the suffix and a staging prefix need room


@dataclass(frozen=True)
class FileName:
    """A template of file names, such as ``{model}-{epoch:03d}-{val_loss:.3f}``.

    The fields are ``model``, ``run``, ``epoch``, ``step``, ``attempt``, ``date`` and ``time``, every logged metric,
    and every key of the metadata.

    Args:
        template: Literal text and ``{name}`` or ``{name:format}``; the name may contain a slash (``{val/loss}``).
        metadata: Keys of the metadata that will be supplied.
        metrics: Names of metrics that are expected, so that none of them is refused as a misspelt field.
    """

    template: str = DEFAULT
    metadata: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.template, str):
            raise PolicyError(f"filename is {self.template!r}; expected a template such as {DEFAULT!r}")
        object.__setattr__(self, "metadata", tuple(self.metadata))
        object.__setattr__(self, "metrics", tuple(self.metrics))
        if not self.template.strip():
            raise PolicyError(f"filename is {self.template!r}; expected a template such as {DEFAULT!r}")
        try:
            fields = [(name, spec) for _, name, spec, _ in self._parts() if name is not None]
        except ValueError as error:
            raise PolicyError(f"filename {self.template!r}: {error}") from None
        for literal, name, _, conversion in self._parts():
            if "/" in literal or "\\" in literal or "\0" in literal:
                raise PolicyError(
                    f"filename {self.template!r}: a file name must not contain a path separator; put folders in dirpath"
                )
            if conversion:
                raise PolicyError(f"filename {self.template!r}: !{conversion} is not known; use {{{name}:format}}")
        for name, spec in fields:
            self._check_field(name, spec)

    @classmethod
    def of(cls, template: str | None, suffix: str, metadata: Iterable[str], metrics: Iterable[str]) -> FileName:
        """Return the template that a user typed, perhaps with the suffix; the default one if there is none.

        Args:
            template: What the user typed, or None.
            suffix: The files' suffix, which is not part of a template.
            metadata: See `FileName`.
            metrics: See `FileName`.
        """
        if template is None:
            return cls()
        text = template.removesuffix(suffix) if isinstance(template, str) else template
        return cls(text, tuple(map(str, metadata)), tuple(metrics))

    def _parts(self) -> Iterable[tuple[str, str | None, str | None, str | None]]:
        return string.Formatter().parse(self.template)

    def _check_field(self, name: str, spec: str | None) -> None:
        where = f"filename {self.template!r}"
        if not name:
            raise PolicyError(f"{where}: {{}} has no name; expected one, such as {{epoch}}")
        if name in self.metadata:
            return
        if name not in self.metrics and name not in BUILT_IN:
            if name in FROM_METADATA:
                raise PolicyError(f"{where}: {{{name}}} is not known; give metadata={{{name!r}: ...}}")
            import difflib  # here, because only a template with an unknown name needs it

            near = difflib.get_close_matches(name, BUILT_IN, n=1, cutoff=0.75)
            if near:
                raise PolicyError(f"{where}: unknown name {{{name}}}; did you mean {{{near[0]}}}?")
        try:
            format(BUILT_IN.get(name, 1.0), spec or "")  # any other field can only be a metric
        except ValueError as error:
            raise PolicyError(f"{where}: {{{name}:{spec}}}: {error}") from None

    def unknown(self, known: Container[str]) -> list[str]:
        """Return the fields that can only be metrics or metadata, and are not among the ``known`` ones."""
        names = (name for _, name, _, _ in self._parts() if name)
        return [name for name in names if not (name in BUILT_IN or name in FROM_METADATA or name in known)]

    def render(self, record: Record) -> str:
        """Return the name of a record's file, without its suffix; a missing value becomes ``no_NAME``, never 0."""
        wall = datetime.fromtimestamp(record.wall, tz=timezone.utc)
        known: dict[str, Any] = {
            **record.metadata,
            **record.metrics,
            "epoch": record.epoch,
            "step": record.step,
            "attempt": record.attempt,
            "run": record.run,
            "date": f"{wall:%Y%m%d}",
            "time": f"{wall:%H%M%S}",
        }
        known.setdefault("model", "model")
        text = ""
        for literal, name, spec, _ in self._parts():
            text += literal
            if name is not None:
                text += _safe(_format(known, name, spec or ""))
        name = _safe(text)[:_LONGEST].lstrip(".-") or "checkpoint"
        return f"{name}-{record.step}" if name.lower() in ALIASES else name


def _format(known: Mapping[str, Any], name: str, spec: str) -> str:
    if name not in known or known[name] is None:
        return f"no_{name}"
    value = known[name]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        return format(value, spec)
    except (ValueError, TypeError, OverflowError):
        return str(value)


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).replace("..", "_")
