"""A template of a path with names that are not logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class _Missing:
    """The place of a name that is not logged, also in fields such as ``{val.loss:.2f}``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __format__(self, spec: str) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"no_{self._name}"

    __repr__ = __str__

    def __getattr__(self, name: str) -> _Missing:
        return self

    def __getitem__(self, key: object) -> _Missing:
        return self


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> _Missing:
        return _Missing(name)


def with_missing(template: str, known: Mapping[str, Any]) -> str:
    """Return a path in which each name that is not known becomes ``no_NAME``.

    Args:
        template: The template.
        known: The values by name.
    """
    return template.format_map(_Known(known))
