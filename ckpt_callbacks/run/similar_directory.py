"""A run directory with a similar path, which a misspelt path was probably meant to name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..policy.resemblance import resembling, same_but_for_suffix
from ..store.layout import Layout

_LEVELS = 3  # names at the end of the path that may be misspelt
_FIXED = re.compile(r"\d+|[^\x00-\x7f]+")  # must be equal: numbers distinguish trials; other alphabets are not compared


def similar_run(dirpath: Path) -> Path | None:
    """Return a directory that holds a run and whose path differs in only one misspelt name.

    Args:
        dirpath: The run directory, as an absolute path.
    """
    for level in (dirpath, *dirpath.parents)[:_LEVELS]:
        try:
            names = os.listdir(level.parent)
        except OSError:
            continue
        within = dirpath.relative_to(level)
        for name in sorted(filter(lambda other: _is_like(level.name, other), names)):
            if os.path.isfile(Layout(found := level.parent / name / within).journal):
                return found
    return None


def _is_like(name: str, other: str) -> bool:
    if _FIXED.findall(name) != _FIXED.findall(other) or same_but_for_suffix(name, other):
        return False
    plurals = {name + "s", other + "s"}  # `resembling` takes a missing last letter for another word
    return bool(plurals & {name, other}) or resembling(name, [other]) is not None
