"""The compression of one chunk of a checkpoint.

The bytes of numbers are sorted into planes: the first byte of each, the second, and so on. In floats of trained
weights, only the exponents repeat themselves. The sign, which stands before them, is moved behind them, so that they
fill a plane of their own. Mantissas are noise, and stay as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from .zstd import library

CHUNK = 1 << 20  # bytes; a few of them fit into a processor's cache
_WIDTHS = (2, 4)  # bytes per number; files do not say what is where, so that each chunk is tried
_SAMPLE = 4 << 10  # bytes of a sample, of which there are two in a chunk
_WORTH = 0.98  # the size of what is compressed, relative to what it was, at most
_HEAD, _PIECE = struct.Struct("<BB"), struct.Struct("<I")  # width and offset of the numbers; the size of a plane
_RAW = 1 << 31  # marks the size of a plane that is stored as it is
_STORED, _PLAIN = 0, 1  # in the place of a width: the whole chunk as it is, or compressed without planes
_PAIR = "<u2"  # numpy moves two bytes several times as fast as one, if they are aligned

_Array = Any  # of numpy, whose types are not checked here


class Encoder:
    """Compresses chunks, one after the other. It is not safe for threads."""

    def __init__(self) -> None:
        zstd = library()
        name = zstd.CompressionParameter
        # With a hash table of 64 entries and matches of at least 7 bytes, next to none is looked for or found: what is
        # left of zstd is its entropy coder, which is all that exponents need, and three times as fast.
        few_matches = {
            name.strategy: zstd.Strategy.fast, name.window_log: 17, name.hash_log: 6, name.chain_log: 6,
            name.search_log: 1, name.min_match: 7, name.target_length: 0,
        }  # fmt: skip
        self._mode = zstd.ZstdCompressor.FLUSH_FRAME
        self._entropy = zstd.ZstdCompressor(options=few_matches)
        self._matches = zstd.ZstdCompressor(level=1)

    def encode(self, chunk: memoryview) -> list[bytes | memoryview]:
        """Return the parts of the compressed chunk; together they are at most two bytes longer than the chunk."""
        data = np.frombuffer(chunk, np.uint8)
        width, offset = self._layout(data) if len(data) else (_STORED, 0)
        if width == _STORED:
            return [_HEAD.pack(_STORED, 0), chunk]
        if width == _PLAIN:
            made = self._matches.compress(chunk, self._mode)
            if len(made) > _WORTH * len(data):
                return [_HEAD.pack(_STORED, 0), chunk]
            return [_HEAD.pack(_PLAIN, 0), made]
        count = (len(data) - offset) // width
        planes, end = _split(data[offset : offset + count * width], width), offset + count * width
        sizes, pieces = [], []
        for plane in planes:
            made = self._entropy.compress(plane, self._mode)
            is_raw = len(made) > _WORTH * count
            pieces.append(plane.data if is_raw else made)
            sizes.append(_PIECE.pack(count | _RAW if is_raw else len(made)))
        return [_HEAD.pack(width, offset), *sizes, *pieces, chunk[:offset], chunk[end:]]

    def _layout(self, data: _Array) -> tuple[int, int]:
        """Return the width and the offset of the numbers that suit a chunk best, by a sample of it."""
        sample = np.concatenate([data[start : start + _SAMPLE] for start in _starts(len(data))])
        best = len(sample) * _WORTH
        plain = len(self._matches.compress(sample, self._mode))
        found = (_PLAIN, 0) if plain < best else (_STORED, 0)
        best = min(best, plain)
        for width in _WIDTHS:
            if not (count := len(sample) // width):
                continue
            sizes = [len(self._entropy.compress(plane, self._mode)) for plane in _planes(sample, width)]
            size = sum(min(one, count) for one in sizes)
            if size < best * 0.99:
                # The exponents are in the plane that shrinks most, and end the numbers.
                found, best = (width, (sizes.index(min(sizes)) + 1) % width), size
        return found


def decode(payload: memoryview, size: int) -> memoryview:
    """Return a chunk of ``size`` bytes from what `Encoder.encode` made of it.

    Raises:
        ValueError: The payload is not one of a chunk of that size.
    """
    width, offset = _HEAD.unpack_from(payload)
    body = payload[_HEAD.size :]
    if width == _STORED:
        return _sized(body, size)
    zstd = library()
    try:
        if width == _PLAIN:
            return _sized(zstd.decompress(body), size)
        if width not in _WIDTHS or offset >= width or offset > size:
            raise ValueError(f"numbers of {width} bytes at {offset}")
        count = (size - offset) // width
        sizes = [_PIECE.unpack_from(body, k * _PIECE.size)[0] for k in range(width)]
        place, planes = width * _PIECE.size, []
        for found in sizes:
            length = found & ~_RAW
            piece = body[place : place + length]
            planes.append(np.frombuffer(_sized(piece if found & _RAW else zstd.decompress(piece), count), np.uint8))
            place += length
    except (struct.error, zstd.ZstdError) as error:
        raise ValueError(str(error)) from error
    edges = _sized(body[place:], size - count * width)
    made = np.empty(size + offset % 2, np.uint8)[offset % 2 :]  # the numbers are aligned
    made[:offset] = np.frombuffer(edges[:offset], np.uint8)
    made[offset + count * width :] = np.frombuffer(edges[offset:], np.uint8)
    _join(planes, made[offset : offset + count * width], width)
    return memoryview(made)


def _sized(data: bytes | memoryview, size: int) -> memoryview:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    return memoryview(data)


def _starts(length: int) -> Sequence[int]:
    """Return where the samples of a chunk begin: at multiples of each width."""
    if length <= 2 * _SAMPLE:
        return range(0, length, _SAMPLE)
    return (length // 4 & ~7, length * 3 // 4 & ~7)


def _planes(data: _Array, width: int) -> list[_Array]:
    end = len(data) // width * width
    return [np.ascontiguousarray(data[k:end:width]) for k in range(width)]


def _split(data: _Array, width: int) -> list[_Array]:
    """Return the planes of numbers, the last of which holds the whole exponents."""
    halves, step = (data if data.ctypes.data % 2 == 0 else data.copy()).view(_PAIR), width // 2
    planes = []
    for k in range(step):
        half = np.ascontiguousarray(halves[k::step])
        if k == step - 1:
            half = (half << 1) | (half >> 15)
        planes += [half.astype(np.uint8), (half >> 8).astype(np.uint8)]
    return planes


def _join(planes: Sequence[_Array], made: _Array, width: int) -> None:
    """Undo `_split`."""
    halves, step = made.view(_PAIR), width // 2
    for k in range(step):
        half = planes[2 * k + 1].astype(_PAIR) << 8
        half |= planes[2 * k]
        halves[k::step] = (half >> 1) | (half << 15) if k == step - 1 else half
