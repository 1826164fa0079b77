"""The storage below a stand-in for the Hugging Face Hub: it keeps what the real client of Xet sends."""

import struct

_HEADER = 48  # bytes, of a shard, and of each entry in it
_END = b"\xff" * 32  # the hash that ends the list of files in a shard
_VERIFIED, _WITH_SHA256 = 1 << 31, 1 << 30


class Xet:
    """Blocks of chunks, and files that consist of chunks."""

    def __init__(self) -> None:
        self.blocks: dict[str, bytes] = {}
        self._files: dict[str, list[tuple[str, int, int]]] = {}
        self._sizes: dict[str, int] = {}
        self.by_sha256: dict[str, str] = {}

    def add_shard(self, shard: bytes) -> None:
        """Learn which chunks the files of a shard consist of."""
        at = _HEADER
        while at + _HEADER <= len(shard) and shard[at : at + 32] != _END:
            name = _text(shard[at : at + 32])
            flags, count = struct.unpack_from("<II", shard, at + 32)
            at += _HEADER
            entries = [struct.unpack_from("<32sIIII", shard, at + _HEADER * number) for number in range(count)]
            at += _HEADER * count * (2 if flags & _VERIFIED else 1)
            self._files[name] = [(_text(block), first, last) for block, _, _, first, last in entries]
            self._sizes[name] = sum(size for _, _, size, _, _ in entries)
            if flags & _WITH_SHA256:
                self.by_sha256[_text(shard[at : at + 32])] = name
                at += _HEADER

    def size(self, name: str) -> int:
        """Return the size of a file."""
        return self._sizes[name]

    def content(self, name: str) -> bytes:
        """Return the bytes of a file."""
        found = []
        for block, first, last in self._files[name]:
            found += _chunks(self.blocks[block])[first:last]
        return b"".join(found)


def _text(value: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", value))


def _chunks(block: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 8 <= len(block) and block[at] == 0:  # a footer follows the chunks
        packed, scheme = int.from_bytes(block[at + 1 : at + 4], "little"), block[at + 4]
        data, at = block[at + 8 : at + 8 + packed], at + 8 + packed
        found.append(data if scheme == 0 else _unpacked(data) if scheme == 1 else _regrouped(_unpacked(data)))
    return found


def _regrouped(data: bytes) -> bytes:
    """Undo the grouping of every fourth byte."""
    whole, rest = divmod(len(data), 4)
    found, at = bytearray(len(data)), 0
    for first in range(4):
        count = whole + (first < rest)
        found[first::4] = data[at : at + count]
        at += count
    return bytes(found)


def _unpacked(frame: bytes) -> bytes:
    """Return the bytes of a frame of LZ4."""
    flags, at, found = frame[4], 7, bytearray()
    at += 8 * bool(flags & 8) + 4 * bool(flags & 1)
    while True:
        size = int.from_bytes(frame[at : at + 4], "little")
        at += 4
        if not size:
            return bytes(found)
        plain, size = size >> 31, size & 0x7FFFFFFF
        block, at = frame[at : at + size], at + size + 4 * bool(flags & 16)
        if plain:
            found += block
        else:
            _unpack_block(block, found)


def _unpack_block(block: bytes, found: bytearray) -> None:
    at = 0
    while at < len(block):
        token, at = block[at], at + 1
        count, at = _count(block, at, token >> 4)
        found += block[at : at + count]
        at += count
        if at >= len(block):
            return
        back = int.from_bytes(block[at : at + 2], "little")
        count, at = _count(block, at + 2, token & 15)
        for _ in range(count + 4):
            found.append(found[-back])


def _count(block: bytes, at: int, count: int) -> tuple[int, int]:
    if count == 15:
        more = 255
        while more == 255:
            more, at = block[at], at + 1
            count += more
    return count, at
