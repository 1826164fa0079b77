"""The secrets of the tests, and the search for them in what a run leaves behind.

All of them contain one word, which nothing else contains.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

WORD = "canary"
_ENCODED = b"y2fuyxj5"  # the word in base64, in small letters
_SESSIONS = (b"upload_id=", b"uploadType=resumable")  # of the address of an upload session, which is a secret as well


def traces(root: Path) -> Iterator[str]:
    """Yield a line for each file below a folder that holds a secret which must not be there."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if WORD.encode() in data.lower() or _ENCODED in data.lower():
            yield f"{path}: holds a secret"
        is_note = path.parent.name == "mirrors" and stat.S_IMODE(path.stat().st_mode) == 0o600
        if not is_note and any(mark in data for mark in _SESSIONS):
            yield f"{path}: holds the address of an upload session"
