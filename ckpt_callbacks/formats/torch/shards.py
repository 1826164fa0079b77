"""The weights of a ``.ckpt`` file in safetensors files with an index, as Hugging Face names and reads them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...errors import StoreError, VerifyError, first_line
from ..sharded.assignment import assigned
from ..sharded.copied_bytes import copy_bytes
from ..sharded.pieces import Axes, Piece
from .safetensors_file import entry_size, header, header_size
from .stored_tensors import StoredTensor, stored_tensors

INDEX, SHARD = "model.safetensors.index.json", "model-{:05}-of-{:05}.safetensors"

Progress = Callable[[int], object]


def split(path: Path, folder: Path, most: int, progress: Progress) -> list[Piece]:
    """Write the tensors of the ``state_dict``, one after the other, and return where their bytes are.

    The format knows no tensors that share memory. Of equal ones, the first is written, and the index and the file name
    the others; of those that overlap in another way, each has its own bytes.

    Args:
        path: The checkpoint.
        folder: Where to write.
        most: Bytes of the largest file, unless a single tensor needs more.
        progress: Called with the number of bytes after each piece.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: The checkpoint holds no tensors, or one that the format cannot hold.
        VerifyError: The checkpoint is damaged.
    """
    with _readable(path):
        tensors = stored_tensors(path)
    written, tied = _apart(tensors)
    notes = {name: {alias: name for alias, kept in tied.items() if kept == name} for name in {*tied.values()}}
    total = sum(tensor.nbytes for tensor in written)
    sizes = [tensor.nbytes + entry_size(tensor, total, notes.get(tensor.name, {})) for tensor in written]
    files = assigned(sizes, most - header_size())
    pieces: list[Piece] = []
    weight_map: dict[str, str] = {}
    with open(path, "rb", buffering=0) as source:
        for number, places in enumerate(files, 1):
            name = SHARD.format(number, len(files))
            # The widest numbers come first, so that all of them are aligned in memory.
            chosen = sorted((written[place] for place in places), key=lambda tensor: -tensor.item)
            of_file = {alias: kept for tensor in chosen for alias, kept in notes.get(tensor.name, {}).items()}
            with open(folder / name, "xb") as made:
                made.write(header(chosen, of_file))
                for tensor in chosen:
                    pieces += _pieces(tensor, name, made.tell())
                    _copy(source, tensor, made, progress)
            weight_map |= {tensor.name: name for tensor in chosen}
    index = {
        "metadata": {"total_size": total, **({"tied": tied} if tied else {})},
        "weight_map": {tensor.name: weight_map[tensor.name] for tensor in written},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return pieces


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever zipfile and pickle raise for a damaged file into a `VerifyError`."""
    try:
        yield
    except (OSError, StoreError):
        raise
    except Exception as error:
        raise VerifyError(f"{path}: torch cannot open it: {first_line(error)}") from error


def _apart(tensors: Sequence[StoredTensor]) -> tuple[list[StoredTensor], dict[str, str]]:
    """Return one of each group of equal tensors that share memory, and the names of the others with that one's."""
    first: dict[tuple[object, ...], str] = {}
    written, tied = [], {}
    for tensor in tensors:
        key = (tensor.storage, tensor.start, tensor.dtype, tensor.shape, tensor.strides)
        if tensor.nbytes and key in first:
            tied[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            written.append(tensor)
    return written, tied


def _pieces(tensor: StoredTensor, file: str, offset: int) -> list[Piece]:
    """Return where the bytes of a tensor are; none if other bytes lie between its numbers."""
    order = tensor.order
    if order is None or not tensor.nbytes:
        return []
    axes = None if tensor.is_contiguous else Axes(tensor.shape, order, tensor.item)
    return [Piece(tensor.start, tensor.nbytes, file, offset, axes)]


def _copy(source: io.FileIO, tensor: StoredTensor, made: BinaryIO, progress: Progress) -> None:
    """Write the numbers of a tensor as safetensors orders them."""
    source.seek(tensor.start)
    if tensor.is_contiguous:
        copy_bytes(source, made, tensor.nbytes, progress)
    elif tensor.nbytes:
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        import numpy as np  # here, because most files need no such thing

        data = io.BytesIO()
        copy_bytes(source, data, (last + 1) * tensor.item, lambda count: None)
        numbers = np.frombuffer(data.getbuffer(), f"V{tensor.item}")
        steps = tuple(stride * tensor.item for stride in tensor.strides)
        view = np.lib.stride_tricks.as_strided(numbers, tensor.shape, steps, writeable=False)
        made.write(np.ascontiguousarray(view).reshape(-1).view(np.uint8).data)
        progress(tensor.nbytes)
