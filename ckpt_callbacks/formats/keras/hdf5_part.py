"""The HDF5 part of a Keras file: the whole file, or the member of an archive that holds the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..packed.opened import open as open_native
from ..packed.suffix import is_packed, native_name
from ..zip_member import open_member
from .archive import WEIGHTS
from .suffix import KERAS

if TYPE_CHECKING:
    import h5py

OPTIMIZER_GROUPS = ("optimizer", "optimizer_weights")  # of the compiled optimizer, the second one in a legacy ``.h5``
LEGACY_WEIGHTS = "model_weights"  # the group of all layers in a legacy ``.h5``


@contextmanager
def hdf5_part(path: Path) -> Iterator[h5py.File]:
    """Yield the open HDF5 part of a file. Of a compressed one, only what is read is decompressed.

    Raises:
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    import h5py  # here, because only those who have such files need it

    with ExitStack() as opened:
        if native_name(path.name).endswith(KERAS):
            yield opened.enter_context(h5py.File(opened.enter_context(open_member(path, WEIGHTS))))
        else:
            file = opened.enter_context(open_native(path)) if is_packed(path) else path
            yield opened.enter_context(h5py.File(file))
