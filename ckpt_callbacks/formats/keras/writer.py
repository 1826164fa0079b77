"""A writer of Keras files from a copy of a model's state, on any thread."""

from __future__ import annotations

import io
import logging
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.saving import saving_lib

from ...errors import first_line
from ...formats import Written
from ...formats.finite import Numbers
from ...memory.pages import PAGE
from ...store.direct_file import DirectFile
from .. import Shapes
from ..format import missing
from ..joined import joined
from ..zip_dates import any_date
from ..zip_member import open_member
from ..zip_writer import ZipWriter, timestamp
from . import archive as keras_zip
from . import embedded_dataset
from .check import tensors
from .entries import Group
from .layout import FileLayout, feed, lay_out, unlike
from .own_arrays import OwnArrays, group_of
from .required_space import check_space
from .unloaded_tensorflow import left_unloaded
from .unsupported import explain_refusal

log = logging.getLogger("ckpt_callbacks")

# What a layout depends on: the groups of the file, and the size of this package's data.
_Wanted = tuple[tuple[Group, ...], int]

_KEPT = 3  # layouts besides the newest, because the arrays of other callbacks may alternate between two layouts
_FACTS = 4096  # embedded data in an HDF5 file are padded to a multiple of this, so that all saves have the same layout


@dataclass(frozen=True)
class KerasFile:
    """The contents of a file, which do not change while the file is written.

    Attributes:
        model: The model's name.
        shapes: The tensors that the file must contain; see `Written`.
        groups: The groups of the HDF5 file.
        arrays: The value of each entry of the groups, in order.
        data: The bytes of each of the arrays.
        before: The names and contents of an archive's members before the weights; empty if the file is not an archive.
        after: The names and contents of an archive's members after the weights.
        facts: This package's data in a file that is not an archive; empty if it has none.
        trained: The memory of those of the arrays that training changes.
    """

    model: str
    shapes: Shapes
    groups: tuple[Group, ...]
    arrays: Sequence[np.ndarray]
    data: Sequence[memoryview]
    before: tuple[tuple[str, bytes], ...] = ()
    after: tuple[tuple[str, bytes], ...] = ()
    facts: bytes = b""
    trained: Sequence[Numbers] = ()

    @property
    def padded_facts(self) -> bytes:
        """The data, padded with blanks, which are allowed at the end of JSON."""
        return self.facts + b" " * (-len(self.facts) % _FACTS)

    def with_arrays(self, own: OwnArrays) -> KerasFile:
        """Return the contents of an archive with this package's own arrays added.

        Args:
            own: The arrays. `OwnArrays.place` packs them again, so they can be added only once.
        """
        (name, metadata), *others = self.before
        names = [group.place(entry) for group in self.groups for entry in group.entries]
        places, size = own.place(dict(zip(names, self.data, strict=True)))
        made = replace(self, before=((name, keras_zip.add_places(metadata, places)), *others))
        if not size:
            return made
        memory = own.memory[:size]
        return replace(
            made,
            groups=(*self.groups, group_of(size)),
            arrays=(*self.arrays, np.frombuffer(memory, np.uint8)),
            data=(*self.data, memory),
        )


class FileWriter:
    """A writer for a series of files.

    A file is written front to back past the page cache, in HDF5's own layout. The first one of each layout is read
    back and compared with what Keras would have written. If it differs, Keras' own store is used from then on. Layouts
    that differ only in the size of this package's own arrays are compared once, because that size may grow at each
    save; of the others, only the shapes are read back.
    """

    def __init__(self) -> None:
        self._direct = True
        self._layouts: list[tuple[_Wanted, FileLayout]] = []  # the newest ones, each with what it depends on
        self._checked: list[_Wanted] = []
        self._read: list[FileLayout] = []  # those of which a file was read back

    @any_date()
    def write(self, content: KerasFile, path: Path) -> Written:
        """Write a new file.

        Raises:
            OSError: The disk is full, or broken.
            StoreError: Keras cannot write this model.
        """
        others = [len(data) for _, data in (*content.before, *content.after)]
        check_space([*(array.nbytes for array in content.arrays), *others], path.parent)
        if self._direct:
            try:
                layout = self._layout_for((content.groups, len(content.padded_facts)))
                written = _lay_down(content, layout, path)
                # A later file of the layout differs from the one that was read in nothing but data, which has a digest.
                known = any(one is layout for one in self._read)
                problem = None if known else self._problem(content, layout, path)
            except OSError:
                raise
            except Exception as error:  # h5py may raise anything
                problem = first_line(error)
            if problem is None:
                return written
            self._direct = False
            path.unlink(missing_ok=True)
            log.warning("KerasCheckpoint: switched to Keras' own, slower writer: %s", problem)
        with explain_refusal(content.model):
            _replay(content, path)
        return Written(content.shapes)

    def _layout_for(self, wanted: _Wanted) -> FileLayout:
        found = next((layout for made_for, layout in self._layouts if made_for == wanted), None)
        if found is None:
            found = lay_out(*wanted)
            self._layouts = [*self._layouts[-_KEPT:], (wanted, found)]
        return found

    def _problem(self, content: KerasFile, layout: FileLayout, path: Path) -> str | None:
        """Return one line that says how the first file of a layout differs from Keras' own; None if it does not."""
        kind = _kind(content)
        with _weights_of(content, path) as file:
            if kind not in self._checked:
                problem = unlike(file, content.groups, content.arrays)
            else:
                problem = missing(path, _entries(content), [("", item.shape) for _, item in tensors(file)])
        if problem is None:
            self._checked = [*(one for one in self._checked[-_KEPT:] if one != kind), kind]
            self._read = [*self._read[-_KEPT:], layout]
        return problem


def _lay_down(content: KerasFile, layout: FileLayout, path: Path) -> Written:
    pieces = list(layout.filled([*content.data, memoryview(content.padded_facts)]))
    others = [*content.before, *content.after]
    # The headers of an archive are small, so no space is reserved for them.
    with DirectFile(path, layout.size + sum(len(data) for _, data in others)) as file:
        if content.before:
            archive = ZipWriter(file, timestamp())
            for name, data in content.before:
                archive.add(name, [data])
            archive.add(keras_zip.WEIGHTS, pieces, align=PAGE)
            for name, data in content.after:
                archive.add(name, [data])
            archive.finish()
        else:
            for piece in joined(pieces):
                file.write(piece)
        is_whole = missing(path, [("", shape) for _, shape in content.shapes], _entries(content)) is None
        return Written(() if is_whole else content.shapes, *file.finish())


def _entries(content: KerasFile) -> Shapes:
    return [("", entry.shape) for group in content.groups for entry in group.entries]


@contextmanager
def _weights_of(content: KerasFile, path: Path) -> Iterator[h5py.File]:
    """Open the weights of a file that was just written.

    Raises:
        ValueError: It is an archive unlike those that Keras writes.
    """
    with ExitStack() as stack:
        file: Path | io.IOBase = path
        if content.before:
            with zipfile.ZipFile(path) as found:
                if (damaged := found.testzip()) is not None:
                    raise ValueError(f"{damaged} is damaged")
                names = found.namelist()[: len(content.before) + 1]
            if (expected := _members()) != names:
                raise ValueError(f"an archive holds {names}, and Keras' own {expected}")
            file = stack.enter_context(open_member(path, keras_zip.WEIGHTS))
        yield stack.enter_context(h5py.File(file))


def _kind(content: KerasFile) -> _Wanted:
    groups = tuple(group_of(1) if group.path == keras_zip.ARRAYS else group for group in content.groups)
    return groups, len(content.padded_facts)


def _replay(content: KerasFile, path: Path) -> None:
    if not content.before:
        _feed_keras(content, path)
        if content.facts:
            embedded_dataset.write(path, content.facts.decode())
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, zipfile.ZipFile(path, "w") as made:
        for name, data in content.before:
            made.writestr(name, data)
        weights = Path(folder, keras_zip.WEIGHTS)
        _feed_keras(content, weights)
        made.write(weights, keras_zip.WEIGHTS)
        for name, data in content.after:
            made.writestr(name, data)


def _feed_keras(content: KerasFile, path: Path) -> None:
    store = saving_lib.H5IOStore(path, mode="w")
    try:
        feed(store, content.groups, content.arrays)
    finally:
        store.close()


def _members() -> list[str]:
    """Return the names of the members of an archive that Keras writes, in order."""
    made = io.BytesIO()
    with left_unloaded():
        saving_lib._save_model_to_fileobj(keras.Sequential(name="probe"), made, "h5")
    with zipfile.ZipFile(made) as found:
        return found.namelist()
