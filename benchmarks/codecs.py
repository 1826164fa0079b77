"""Lossless compressors of whole files, as this package's one and others use them, each on one core."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .report import GB
from .subject import NotInstalled

OURS = "ours: planes, entropy coder of zstd"
ZIPNN = "zipnn"

# The name of the data, its bytes, and how many of them a number has.
Data = tuple[str, bytes, int]
Pair = tuple[Callable[[], Any], Callable[[Any], object], Callable[[Any], int]]


def needed(module: str) -> Any:
    """Return a library of another project.

    Raises:
        NotInstalled: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise NotInstalled(module.partition(".")[0]) from None


def measured(make: Callable[[], Pair], size: int, rounds: int) -> dict[str, float]:
    """Return how much a compressor takes off, and its speed in and out, in processor time; the best of several rounds.

    Args:
        make: Returns a function that compresses, one that gets what it returned and decompresses it, and one that
            returns the size of that.
        size: Bytes before.
        rounds: How often to measure.
    """
    into, out, left = [], [], 0
    compress, decompress, size_of = make()
    for _ in range(rounds):
        begun = time.process_time()
        made = compress()
        into.append(time.process_time() - begun)
        left, begun = size_of(made), time.process_time()
        decompress(made)
        out.append(time.process_time() - begun)
    return {"off": 1 - left / size, "in": size / GB / min(into), "out": size / GB / min(out)}


def codecs(data: Data, folder: Path) -> dict[str, Callable[[], Pair]]:
    """Return the compressors of plain bytes, by their name.

    Args:
        data: What they compress.
        folder: An empty folder, for ours, which compresses files.
    """
    from ckpt_callbacks.formats.compressed.writer import compress
    from ckpt_callbacks.formats.packed.opened import check_whole

    _, content, width = data
    whole = len(content) // 8 * 8  # some take only whole numbers

    def ours() -> Pair:
        native, made = folder / "x.ckpt", folder / "x.ckpt.cz"
        native.write_bytes(content)

        def out(_: object) -> None:
            assert check_whole(made)[1] == len(content)

        return lambda: compress(native, made, {}), out, lambda _: made.stat().st_size

    def zipnn() -> Pair:
        kind = {4: "float32", 2: "bfloat16"}[width]
        codec = needed("zipnn").ZipNN(bytearray_dtype=kind, input_format="byte", threads=1)
        # It crashes if a number is cut off.
        return (
            lambda: codec.compress(bytearray(content[:whole])),
            codec.decompress,
            lambda made: len(made) + len(content) - whole,
        )

    def zstd(level: int) -> Callable[[], Pair]:
        def make() -> Pair:
            library = needed("backports.zstd")
            return lambda: library.compress(content, level), library.decompress, len

        return make

    def shuffled() -> Pair:
        numcodecs = needed("numcodecs")
        shuffle, codec = numcodecs.Shuffle(width), numcodecs.Zstd(1)
        return (
            lambda: codec.encode(shuffle.encode(content[:whole])),
            lambda made: shuffle.decode(codec.decode(made)),
            lambda made: len(made) + len(content) - whole,
        )

    def pcodec() -> Pair:
        standalone, config = needed("pcodec.standalone"), needed("pcodec").ChunkConfig()
        numbers = np.frombuffer(content[:whole], {4: "float32", 2: "uint16"}[width])
        return lambda: standalone.simple_compress(numbers, config), standalone.simple_decompress, len

    return {
        OURS: ours, ZIPNN: zipnn, "zstd, level 1": zstd(1), "zstd, level 3": zstd(3),
        "numcodecs: Shuffle, Zstd(1)": shuffled, "pcodec": pcodec,
    }  # fmt: skip


def torch_writers(state: dict[str, Any], folder: Path) -> dict[str, Callable[[], Pair]]:
    """Return the writers of tensors, by their name.

    Args:
        state: The tensors, by name.
        folder: An empty folder.
    """
    import torch

    def safetensors() -> Pair:
        library, path = needed("safetensors.torch"), folder / "x.safetensors"
        return lambda: library.save_file(state, path), lambda _: library.load_file(path), lambda _: size_of(path)

    def dcp() -> Pair:
        from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, load, save

        extension, path = needed("torch.distributed.checkpoint._extension").ZStandard, folder / "dcp"
        if not extension.is_available():
            raise NotInstalled("zstandard")

        def write() -> None:
            writer = FileSystemWriter(path, sync_files=False, _extensions=[extension()])
            save(dict(state), storage_writer=writer, no_dist=True)

        def read(_: object) -> None:
            empty = {name: torch.empty_like(value) for name, value in state.items()}
            load(empty, storage_reader=FileSystemReader(path), no_dist=True)

        return write, read, lambda _: size_of(path)

    return {"safetensors": safetensors, "DCP with ZStandard()": dcp}


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)
