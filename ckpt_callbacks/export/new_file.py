"""A file that is written beside its name and takes it when it is complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ExportError
from ..store.commit import flush, sync_folder
from ..store.layout import is_run_dir
from ..store.manifest import Manifest

DATA = ".data"  # what the name of an ONNX model's second file adds to the first one's


class NewFile:
    """A file that does not exist yet. It is written in a folder beside it, under its own name.

    Args:
        path: The file.
        force: Whether to replace a file that exists.

    Raises:
        ExportError: A file of that name exists, or its folder does not.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise ExportError(f"{path}: cannot be written: {path.parent} is not a directory; expected one that exists")
        if is_run_dir(path.parent) and (path.is_symlink() or self._is_listed()):
            raise ExportError(f"{path}: is a checkpoint of the run in {path.parent}; expected another name")
        existing = [name for name in (path, self._data) if os.path.lexists(name)]
        if path.is_dir():
            raise ExportError(f"{path}: is a directory; expected the name of a file")
        if existing and not force:
            raise ExportError(f"{existing[0]}: exists; expected a new name, or force=True (--force) to replace it")

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield the path to write to. Everything in its folder is gone afterwards, except what `keep` has moved."""
        folder = tempfile.mkdtemp(prefix=f".{self.path.name[:100]}.", suffix=".exporting", dir=self.path.parent)
        try:
            yield Path(folder, self.path.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, draft: Path) -> tuple[Path, ...]:
        """Move a finished file to its name, durably, and return the files that belong to it.

        A model of two files never stands beside data of another model: a crash leaves the old one, none, or the new.

        Args:
            draft: The path that `draft` has yielded.
        """
        files: tuple[Path, ...] = (self.path,)
        usual = draft.with_name("mode")  # the permissions of new files; some libraries keep others out
        usual.touch()
        data = draft.with_name(self._data.name)
        for file in filter(Path.exists, (draft, data)):
            file.chmod(usual.stat().st_mode)
            flush(file)
        if data.exists():
            self.path.unlink(missing_ok=True)
            os.replace(data, self._data)
            os.replace(draft, self.path)
            files = (self.path, self._data)
        else:
            os.replace(draft, self.path)
            if self.path.suffix == ".onnx":
                self._data.unlink(missing_ok=True)
        sync_folder(self.path.parent)
        return files

    def _is_listed(self) -> bool:
        records = Manifest.read(self.path.parent).records.values()
        return any(record.file == self.path.name for record in records)

    @property
    def _data(self) -> Path:
        return self.path.with_name(self.path.name + DATA)
