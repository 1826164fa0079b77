"""Facts that another version of this package may have written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .errors import ResumeError


def known_fields(cls: type, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the ``facts`` that are fields of a dataclass; a newer version may have written others."""
    known = {f.name for f in fields(cls)}
    return {name: value for name, value in facts.items() if name in known}


def check_version(found: object, known: int, what: str) -> None:
    """Refuse what a newer version wrote in a way that this one does not know.

    Args:
        found: The version that was read.
        known: The newest version that this package reads.
        what: The subject of the error message, such as ``"policy state"``.

    Raises:
        ResumeError: ``found`` is newer than ``known``, or is no version.
    """
    if not isinstance(found, int) or found > known:
        raise ResumeError(f"{what}: version is {found!r}; expected at most {known}; install a newer ckpt-callbacks")
