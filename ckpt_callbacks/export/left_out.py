"""The weights that a rule has left out of a checkpoint that is exported."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import listed

log = logging.getLogger("ckpt_callbacks")


def reduced_in(own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `Record.reduced` as a file holds it.

    Args:
        own: This package's data in the file; None if there are none.
    """
    return ((own or {}).get("record") or {}).get("reduced") or {}


def left_out_of(own: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the names of what was left out of a file, with its data as for `reduced_in`."""
    return tuple(reduced_in(own).get("drop", ()))


def warn(path: Path, names: Sequence[str]) -> None:
    """Say that the model's own weights stand in for those that a checkpoint lacks."""
    log.warning(
        "%s: lacks %s, which a rule has left out; the export holds what the model itself has there", path, listed(names)
    )
