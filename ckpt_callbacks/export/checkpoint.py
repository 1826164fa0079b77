"""The checkpoint to export."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from ..errors import ExportError
from ..formats.keras.suffix import KERAS, LEGACY
from ..formats.packed.opened import native_path
from ..formats.torch.check import is_archive
from ..record import Record
from ..store.condition import check_exists
from ..store.layout import is_run_dir
from ..store.manifest import Manifest
from ..store.paths import expanded
from ..store.replacement import verify_now


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's file, with its record if it is in a run directory.

    Attributes:
        path: The file.
        record: Its record; None for a file that no manifest lists.
        packed: The compressed or split checkpoint of which ``path`` is a temporary copy; None if it is none.
    """

    path: Path
    record: Record | None
    packed: Path | None = None

    @classmethod
    def find(cls, given: Record | str | PathLike[str]) -> Checkpoint:
        """Return the checkpoint that a record, a path or a link means.

        Raises:
            StoreError: It does not exist.
        """
        if isinstance(given, Record):
            check_exists(given)
            return cls(given.path, given)
        path = expanded("export: checkpoint", given)
        if not path.exists():
            raise ExportError(f"{path}: does not exist; expected a checkpoint, as in open_run(...).best()")
        path = Path(os.path.realpath(path))
        if not is_run_dir(path.parent):
            return cls(path, None)
        records = Manifest.read(path.parent).records.values()
        named = [record for record in records if record.file == path.name and record.status.on_disk]
        return cls(path, named[-1] if named else None)

    def verify(self) -> None:
        """Compare every byte with the manifest.

        Raises:
            VerifyError: The file is damaged.
        """
        if self.record is not None:
            verify_now(Manifest.read(self.path.parent), self.record)

    @contextmanager
    def native(self, folder: Path) -> Iterator[Checkpoint]:
        """Yield this checkpoint; in place of a compressed one, its native file, which is deleted at the end.

        Args:
            folder: Where to put that file.
        """
        with native_path(self.path, folder) as path:
            yield self if path == self.path else Checkpoint(path, self.record, packed=self.path)

    @cached_property
    def framework(self) -> str:
        """The framework whose file it is.

        Raises:
            ExportError: It is no file of torch or Keras.
        """
        if self.path.is_dir():
            raise ExportError(f"{self.path}: is a directory, a sharded checkpoint; expected a checkpoint of one file")
        if self.path.name.endswith((KERAS, LEGACY)):
            return "keras"
        if is_archive(self.path):
            return "torch"
        raise ExportError(f"{self.path}: neither torch nor Keras wrote it; expected a checkpoint of one of them")

    @property
    def known_as(self) -> Path:
        """The path by which the user knows the checkpoint."""
        return self.packed or self.path

    @property
    def model_name(self) -> str | None:
        """The name of the class that was trained, if the record knows it."""
        found = self.record.metadata.get("model") if self.record is not None else None
        return found if isinstance(found, str) else None
