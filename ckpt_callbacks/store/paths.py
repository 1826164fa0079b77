"""Paths as people write them: with ``~`` and environment variables."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path

from ..errors import PolicyError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib makes one slash of two; a drive of Windows has one letter
_SECRET = re.compile(r"(:/+).*@")  # a user and a password, which may hold any character
_VARIABLE = re.compile(r"\$(?:\{[^}]*\}|\w+)")


def expanded(what: str, path: str | PathLike[str], *, strict: bool = False) -> Path:
    """Return a local path with its user's home directory and its environment variables in place of their names.

    Args:
        what: What the path is for, as the beginning of the error messages, such as ``LightningCheckpoint: dirpath``.
        path: The path, such as ``~/runs/$SLURM_JOB_ID``.
        strict: Whether a variable that is not set is an error; otherwise its name stays in the path.

    Raises:
        PolicyError: The path is empty or a URL, or names an unknown user or a variable that is not set.
    """
    text = os.fspath(path)
    if not text.strip():
        raise PolicyError(f"{what} is {text!r}; expected a path that is not empty")
    if _URL.match(text):
        shown = _SECRET.sub(r"\1***@", text)
        raise PolicyError(f"{what} is {shown!r}, a URL; expected a local path, or the URL of a mirror where one may be")
    found = os.path.expandvars(text)
    if strict and (left := _VARIABLE.search(found)) is not None and left.group() in text:
        raise PolicyError(
            f"{what} is {text!r}, and {left.group()} is not set; expected an environment variable that is set"
        )
    if not found.strip() or (found.startswith("/") and not text.startswith("/") and _is_unset(text)):
        raise PolicyError(f"{what} is {text!r}, and its variable is empty; expected a variable with a value")
    try:
        return Path(found).expanduser()
    except RuntimeError:
        raise PolicyError(
            f"{what} is {text!r}, which names the home directory of an unknown user; expected a path"
        ) from None


def _is_unset(text: str) -> bool:
    """Return whether a path begins with a variable without a value, so that only the rest of the path would remain."""
    return (first := _VARIABLE.match(text)) is not None and not os.path.expandvars(first.group())
