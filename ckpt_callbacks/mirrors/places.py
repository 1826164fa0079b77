"""Checks of where mirrors are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from ..errors import PolicyError
from ..policy.mirror import Mirror
from ..store.layout import Layout
from .recorded import place_of


def check_places(where: str, mirrors: Sequence[Mirror], dirpath: str | PathLike[str]) -> None:
    """Raise `PolicyError` if a mirror is the run directory itself, or inside it, or is that of another run.

    Args:
        where: The first word of an error message.
        mirrors: The mirrors.
        dirpath: The run directory.
    """
    own = os.path.realpath(dirpath)
    for mirror in mirrors:
        begin, place = f"{where}: mirrors: {mirror.url!r}", place_of(mirror.url)
        if f"{place}/".startswith(f"{own}/"):
            raise PolicyError(f"{begin} is in the run directory, {os.path.abspath(dirpath)}; expected another place")
        if place.startswith("/") and os.path.exists(Layout(Path(place)).journal):
            raise PolicyError(f"{begin} is a run directory itself; expected another place, such as an empty folder")
