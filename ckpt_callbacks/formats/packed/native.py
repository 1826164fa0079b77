"""The native form of a checkpoint: what is split becomes a single file again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...record import Record
from ...store.digest import digest
from .opened import restore
from .packing import Progress
from .suffix import is_split


class Native:
    """The native form of split checkpoints; see `Packing`."""

    suffix, done, least = "", "joined to one file", float("-inf")

    def takes(self, record: Record) -> bool:
        return is_split(record.file)

    def facts(self, digest: str, size: int) -> Mapping[str, Mapping[str, Any]]:
        return {"compressed": {}, "shards": {}}

    def write(self, record: Record, staged: Path, progress: Progress) -> None:
        restore(record.path, staged, progress)

    def check(self, staged: Path, progress: Progress) -> tuple[str, int]:
        return digest(staged, progress=progress)
