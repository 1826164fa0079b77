"""The shards of a large checkpoint, as one form that it can get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import StoreError
from ...policy.shards import Shards
from ...record import Record
from ...store.aliases import SHARDS
from ...store.digest import digest, files_below
from .. import format_of
from ..packed.opened import check_whole
from ..packed.packing import Progress
from ..packed.suffix import is_packed
from .copied_bytes import copy_bytes
from .header import HEADER, REST, FolderHeader
from .pieces import Piece, gaps, without_overlaps


class Sharding:
    """The form in several files; see `Packing`.

    Args:
        shards: How large these may be.
    """

    suffix, done, least = SHARDS, "split", float("-inf")

    def __init__(self, shards: Shards) -> None:
        self._most = shards.max_size

    def takes(self, record: Record) -> bool:
        return not is_packed(record.file) and record.path.is_file()

    def facts(self, digest: str, size: int) -> Mapping[str, Mapping[str, Any]]:
        return {"compressed": {}, "shards": {"max_size": self._most, "digest": digest, "size": size}}

    def write(self, record: Record, staged: Path, progress: Progress) -> None:
        form = format_of(record.path)
        if form is None or form.split is None:
            raise StoreError("its format has no shards; expected .ckpt, .keras or .weights.h5; it stays one file")
        staged.mkdir()
        held = without_overlaps(form.split(record.path, staged, self._most, progress))
        with open(record.path, "rb") as native:
            rest = list(_write_rest(native, staged, list(gaps(held, record.size)), self._most, progress))
        files = {}
        for file in sorted(files_below(staged)):
            found, size = digest(file, progress=progress)
            files[file.name] = (size, found)
        facts = record.replace(digest="", size=0, identity="", **self.facts(record.digest, record.size))
        pieces = sorted((*held, *rest), key=lambda piece: piece.start)
        header = FolderHeader(record.digest, record.size, {"record": facts.to_json()}, files, pieces)
        (staged / HEADER).write_bytes(header.to_bytes())

    def check(self, staged: Path, progress: Progress) -> tuple[str, int]:
        return check_whole(staged, progress)


def _write_rest(
    native: BinaryIO, folder: Path, ranges: Sequence[tuple[int, int]], most: int, progress: Progress
) -> Iterator[Piece]:
    """Write what no shard holds, and yield where it is."""
    number, filled = 1, 0
    for start, stop in ranges:
        native.seek(start)
        while start < stop:
            if filled >= most:
                number, filled = number + 1, 0
            name = REST.format(number)
            length = min(stop - start, most - filled)
            with open(folder / name, "ab") as made:
                copy_bytes(native, made, length, progress)
            yield Piece(start, length, name, filled)
            start, filled = start + length, filled + length
