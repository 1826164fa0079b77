"""The keys of a mirror's objects, below its URL."""

from __future__ import annotations

import hashlib
import os
import re
from urllib.parse import quote

PRIVATE = "mirror/"
CATALOG = f"{PRIVATE}catalog.json"
ENTRIES = f"{PRIVATE}records/"
USERS = f"{PRIVATE}users/"  # of checkpoints from which runs of other directories have continued
CLOCK = f"{PRIVATE}clock"  # an empty object whose date is the time of the store
CHECKPOINTS = "checkpoints/"
_HIGHEST = 10**12 - 1
_LONGEST = 200  # bytes of one name; file systems take 255, and the hidden name of an upload is longer
_PLAIN = "=+,@()"  # besides letters, digits and _.-~; every store takes these
_OF_CHECKPOINT = re.compile(rf"({CHECKPOINTS}[0-9a-f]{{16}})/.+")


def entry_key(number: int) -> str:
    """Return the key of an entry. The newest one comes first in a list, which may be long."""
    return f"{ENTRIES}{_HIGHEST - number:012d}.json"


def number_of(key: str) -> int | None:
    """Return the number of the entry with a key; None for any other object."""
    name = key.removeprefix(ENTRIES).removesuffix(".json")
    return _HIGHEST - int(name) if len(name) == 12 and name.isdecimal() else None


def checkpoint_key(digest: str, file: str, inside: str = "") -> str:
    """Return the key of a checkpoint's bytes.

    Other bytes have another key, so that nothing is ever overwritten by something else.

    Args:
        digest: The digest of the checkpoint, with the name of its algorithm.
        file: The name of its file, or of its folder.
        inside: The path of one file in that folder.
    """
    names = [file, *(inside.split("/") if inside else ())]
    return f"{CHECKPOINTS}{digest.rpartition(':')[2][:16]}/{'/'.join(map(_quoted, names))}"


def _quoted(name: str) -> str:
    """Return a name as every store takes it: quoting makes nine bytes of a Chinese character that had three."""
    name, dot = name.removeprefix("."), "%2E" if name.startswith(".") else ""  # else folders would hide the file
    quoted = dot + quote(name, safe=_PLAIN)
    if len(quoted) <= _LONGEST:
        return quoted
    stem, suffix = os.path.splitext(name)
    end = f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}{quote(suffix, safe=_PLAIN)[: _LONGEST // 4]}"
    while len(quoted := dot + quote(stem, safe=_PLAIN)) > _LONGEST - len(end):
        stem = stem[:-1]
    return quoted + end


def checkpoint_of(key: str) -> str | None:
    """Return what the keys of all objects of a checkpoint begin with; None for an object of somebody else."""
    found = _OF_CHECKPOINT.fullmatch(key)
    return found[1] if found else None


def user_key(id_: int, run: str) -> str:
    """Return the key of the note that a run of another directory has continued from a checkpoint."""
    return f"{USERS}{id_}-{quote(run, safe='')}"


def used_id(key: str) -> int | None:
    """Return the id of the checkpoint that such a note names; None for any other object."""
    name = key.removeprefix(USERS).partition("-")[0]
    return int(name) if name.isdecimal() else None
