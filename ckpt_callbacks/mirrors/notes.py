"""The file in a run directory in which one mirror's uploads are noted, so that a later process continues them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..store.private_files import create_file, make_folder, read_file

FOLDER = "mirrors"


class Notes:
    """What is known about one mirror in a run directory. Only the user can read the file.

    Args:
        private: The private folder of the run directory.
        url: The mirror's URL, without user and password.
    """

    def __init__(self, private: Path, url: str) -> None:
        self.url, self._lock = url, threading.Lock()
        self._path = private / FOLDER / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
        self._facts: dict[str, Any] = {"url": url, "uploads": {}, "status": {}}
        with contextlib.suppress(OSError, StoreError, ValueError):
            found = json.loads(read_file(self._path))
            if isinstance(found, dict) and found.get("url") == url:
                self._facts |= found

    @property
    def status(self) -> Mapping[str, Any]:
        """The last facts for `ckpt mirror status`."""
        return dict(self._facts["status"])

    @property
    def uploads(self) -> set[str]:
        """The keys of the objects whose upload a later process can continue."""
        return set(self._facts["uploads"])

    def upload(self, key: str) -> Mapping[str, Any]:
        """Return what is noted about the upload of an object; empty for none."""
        return dict(self._facts["uploads"].get(key, {}))

    def note_upload(self, key: str, state: Mapping[str, Any]) -> None:
        """Note what a later process needs to continue the upload of an object; empty once it is done."""
        with self._lock:
            self._facts["uploads"].pop(key, None)
            if state:
                self._facts["uploads"][key] = dict(state)
            self._write()

    def note_status(self, **facts: Any) -> None:
        """Note facts for `ckpt mirror status`, such as ``error``, ``sent`` or ``time``."""
        with self._lock:
            self._facts["status"] |= facts
            self._write()

    def note_requests(self, writes: int, reads: int) -> None:
        """Add requests to those noted so far; nothing is written if there are none."""
        if writes or reads:
            known = self.status
            self.note_status(
                writes=known.get("writes", 0) + writes, reads=known.get("reads", 0) + reads,
                since=known.get("since", time.time()),
            )  # fmt: skip

    def _write(self) -> None:
        """Replace the file. Losing it costs an upload from its start, nothing else."""
        with contextlib.suppress(OSError, StoreError):
            make_folder(self._path.parent)
            draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
            create_file(draft, b"")
            os.chmod(draft, 0o600)
            draft.write_text(json.dumps(self._facts))
            os.replace(draft, self._path)


def all_notes(private: Path) -> list[Notes]:
    """Return the notes of all mirrors of a run directory."""
    found = []
    for path in sorted((private / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, StoreError, ValueError, KeyError, TypeError):
            found.append(Notes(private, json.loads(read_file(path))["url"]))
    return found
