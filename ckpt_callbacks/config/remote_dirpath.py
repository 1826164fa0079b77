"""A run directory that is elsewhere, and the folder of this machine in which its checkpoints are written first."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

from ..errors import PolicyError
from ..policy.mirror import Mirror
from ..remote.url import is_remote
from ..settings import Settings

CACHE = "CKPT_CALLBACKS_CACHE"  # the variable of the environment that names the folder


def with_cache(settings: Settings, name: str) -> Settings:
    """Return settings whose run directory is on this machine.

    A URL becomes the first mirror, and a folder in the user's cache takes its place: checkpoints are committed there,
    and sent from there.

    Args:
        settings: The settings.
        name: The first word of an error message.

    Raises:
        PolicyError: The URL is wrong.
    """
    if settings.dirpath is None or not is_remote(given := os.fspath(settings.dirpath)):
        return settings
    try:
        place = Mirror(given)
    except PolicyError as error:
        raise PolicyError(f"{name}: dirpath: {str(error).removeprefix('Mirror: ')}") from None
    named = [mirror for mirror in settings.mirrors if mirror.place == place.place]  # with options for its client
    others = [mirror for mirror in settings.mirrors if mirror not in named]
    return replace(settings, dirpath=str(cache_of(place.url)), mirrors=(*(named or [place]), *others))


def cache_of(url: str) -> Path:
    """Return the folder in which the checkpoints of a run directory elsewhere are written first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.environ.get(CACHE) or os.path.join(home, "ckpt_callbacks")
    last = re.sub(r"[^\w.-]+", "-", url.rstrip("/").rpartition("/")[2].rpartition(":")[2]).strip(".-") or "run"
    return Path(os.path.abspath(cache), "runs", f"{last}-{hashlib.sha256(url.encode()).hexdigest()[:12]}")
