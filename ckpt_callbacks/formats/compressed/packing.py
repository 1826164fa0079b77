"""The compression of native files, as one form that a checkpoint can get."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import VerifyError
from ...policy.packing import LEAST_GAIN
from ...record import Record
from ...store.aliases import COMPRESSED
from ..packed.opened import check_whole
from ..packed.packing import Progress
from ..packed.suffix import is_packed
from .format import compressed


class Compression:
    """The compressed form; see `Packing`.

    Args:
        least: The part of its bytes that a checkpoint has to gain.
    """

    suffix, done = COMPRESSED, "compressed"

    def __init__(self, least: float = LEAST_GAIN) -> None:
        self.least = least

    def takes(self, record: Record) -> bool:
        return not is_packed(record.file) and record.path.is_file()

    def facts(self, digest: str, size: int) -> Mapping[str, Mapping[str, Any]]:
        return {"compressed": compressed(digest, size), "shards": {}}

    def write(self, record: Record, staged: Path, progress: Progress) -> None:
        from .writer import compress  # here, because it needs numpy

        facts = record.replace(digest="", size=0, identity="", **self.facts(record.digest, record.size))
        if compress(record.path, staged, {"record": facts.to_json()}, progress) != (record.digest, record.size):
            raise VerifyError(f"{record.path}: its bytes changed while it was compressed")

    def check(self, staged: Path, progress: Progress) -> tuple[str, int]:
        return check_whole(staged, progress)
