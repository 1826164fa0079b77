"""The notes in a mirror about runs of other directories that have continued from one of its checkpoints."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path

from ..errors import CkptError, first_line
from ..remote.object_store import ObjectStore
from ..remote.url import open_store
from ..runtime.environment import environment
from .keys import CATALOG, CHECKPOINTS, USERS, used_id, user_key
from .reading import read_catalog

log = logging.getLogger("ckpt_callbacks")

_DEPTH = 2  # folders between a checkpoint and the mirror


def ids_in_use(store: ObjectStore) -> set[int]:
    """Return the ids of the checkpoints of a mirror from which runs of other directories have continued."""
    return {id_ for one in store.list(USERS) if (id_ := used_id(one.key)) is not None}


def note_use(path: Path, dirpath: Path) -> None:
    """Keep a checkpoint in a mirror that is a folder, because a run of another directory continues from it.

    Does nothing for any other file. If the note cannot be written, a line says so.

    Args:
        path: The checkpoint.
        dirpath: The directory of the run that continues.
    """
    path = path.absolute()
    root = path.parents[_DEPTH] if len(path.parents) > _DEPTH else path.parent
    if not (root / CATALOG).is_file():
        return
    key = path.relative_to(root).as_posix()
    try:
        store = open_store(str(root))
        catalog, _ = read_catalog(store)
        entries = catalog.entries if catalog is not None and key.startswith(CHECKPOINTS) else ()
        entry = next((entry for entry in entries if any(part.key == key for part in entry.parts)), None)
        if entry is None:
            return
        facts = {"host": environment()["host"], "time": time.time()}
        who = hashlib.sha256(f"{facts['host']}:{dirpath}".encode()).hexdigest()[:16]
        store.put(user_key(entry.record.id, who), json.dumps(facts).encode())
    except CkptError as error:
        log.warning("%s: may be deleted there while this run needs it: %s", path, first_line(error))
