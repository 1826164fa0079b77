"""The weights of a Keras file in several ones with an index, as `keras.Model.save_weights` splits and reads them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from ...errors import StoreError, VerifyError, first_line
from ..sharded.assignment import assigned
from ..sharded.pieces import Piece
from ..zip_member import data_start
from .archive import METADATA, WEIGHTS
from .check import tensors
from .hdf5_part import LEGACY_WEIGHTS, hdf5_part
from .required_space import PER_VARIABLE, check_space
from .suffix import KERAS

INDEX, SHARD = "model.weights.json", "model_{:05}.weights.h5"
CONFIG = "config.json"
_VARS = "/vars"  # the group of a layer's variables, at the end of its path
_PER_FILE = 4096  # bytes that HDF5 needs besides those for each dataset; a guess, after which the file is measured

Progress = Callable[[int], object]


def split(path: Path, folder: Path, most: int, progress: Progress) -> list[Piece]:
    """Write the weights, one after the other, and return where their bytes are.

    Beside them are the two descriptions of the model that an archive holds.

    Args:
        path: The checkpoint.
        folder: Where to write.
        most: Bytes of the largest file, unless a single tensor needs more.
        progress: Called with the number of bytes after each piece.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: The checkpoint has no such form.
        VerifyError: The checkpoint is damaged.
    """
    with _readable(path):
        begin = _begin(path, folder)
        with hdf5_part(path) as source:
            if LEGACY_WEIGHTS in source or "layer_names" in source.attrs:
                raise StoreError(
                    "Keras has no shards for the legacy format of .h5 files; expected .keras or .weights.h5; it stays "
                    "one file"
                )
            sizes = {name: data.nbytes for name, data in tensors(source)}
            if not sizes:
                raise StoreError("it holds no weights; it stays one file")
            pieces: list[Piece] = []
            weight_map: dict[str, list[str]] = {}
            left, number = list(sizes), 0
            while left:
                file = SHARD.format(number)
                count = len(assigned([sizes[name] + PER_VARIABLE for name in left], most - _PER_FILE)[0])
                chosen = _fill(source, folder / file, left[:count], most)
                progress(sum(sizes[name] for name in chosen))
                for name in chosen:
                    shards = weight_map.setdefault(_layer(name), [])
                    shards += [file] if file not in shards else []
                pieces += _pieces(source, folder / file, chosen, begin)
                left, number = left[len(chosen) :], number + 1
            index = {
                "metadata": {"total_size": sum(sizes.values())},
                "weight_map": {layer: files[0] if len(files) == 1 else files for layer, files in weight_map.items()},
            }
    (folder / INDEX).write_text(json.dumps(index, indent=4))
    return pieces


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever zipfile and h5py raise for a damaged file into a `VerifyError`."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno is None:  # one of h5py
            raise VerifyError(f"{path}: h5py cannot read it: {first_line(error)}") from error
        raise
    except (KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise VerifyError(f"{path}: is not a readable Keras file: {first_line(error)}") from error


def _begin(path: Path, folder: Path) -> int | None:
    """Return where the HDF5 part begins in a file, None if its bytes are not there as they are; unpack the rest."""
    if not path.name.endswith(KERAS):
        return 0
    with zipfile.ZipFile(path) as archive:
        for name in (CONFIG, METADATA):
            (folder / name).write_bytes(archive.read(name))
        member = archive.getinfo(WEIGHTS)
    return data_start(path, member) if member.compress_type == zipfile.ZIP_STORED else None


def _fill(source: h5py.File, file: Path, names: Sequence[str], most: int) -> Sequence[str]:
    """Write a shard with as many of some datasets as fit, and return the names of these."""
    while True:
        check_space([source[name].nbytes for name in names], file.parent)
        with h5py.File(file, "w") as made:
            for name in names:
                _copy(source, made, name)
        if len(names) == 1 or file.stat().st_size <= most:
            return names
        names = names[: -max(1, len(names) // 8)]


def _copy(source: h5py.File, made: h5py.File, name: str) -> None:
    """Copy a dataset, with the facts that Keras has noted about the groups above it."""
    group, found = made, source
    *above, last = name.split("/")
    for part in above:
        found, is_new = found[part], part not in group
        group = group.require_group(part)
        if is_new:
            for key, value in found.attrs.items():
                group.attrs[key] = value
    source.copy(found[last], group, last)


def _layer(name: str) -> str:
    """Return the group of a layer's variables, by which Keras looks for the file of a dataset."""
    path = f"/{name}"
    end = path.rfind(f"{_VARS}/")
    return path[: end + len(_VARS)] if end >= 0 else path.rpartition("/")[0]


def _pieces(source: h5py.File, file: Path, names: Sequence[str], begin: int | None) -> list[Piece]:
    """Return where the bytes of datasets are, as far as both files hold them as they are."""
    if begin is None:
        return []
    with h5py.File(file) as made:
        pairs = ((_place(source[name]), _place(made[name])) for name in names)
        return [
            Piece(begin + there[0], there[1], file.name, here[0])
            for there, here in pairs
            if there is not None and here is not None and there[1] == here[1]
        ]


def _place(data: Any) -> tuple[int, int] | None:
    """Return where the bytes of a dataset begin, and how many they are; None if they are not in one place."""
    offset, size = data.id.get_offset(), data.id.get_storage_size()
    is_plain = data.chunks is None and data.id.get_create_plist().get_nfilters() == 0
    return (offset, size) if offset is not None and size == data.nbytes and size and is_plain else None
