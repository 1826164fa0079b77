"""A file that is written front to back without the page cache, and hashed at the same time."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import xxhash

from ..memory.pages import HUGE, PAGE, address_of, allocate
from .digest import named
from .disk_space import reserve

_DIRECT = getattr(os, "O_DIRECT", 0)
_CHUNK = 8 << 20  # bytes per write
_PIECE = 1 << 20  # bytes that stay in the processor's cache while each pass reads them
_BOUNCE = 1 << 20
LARGE = 256 << 10  # bytes; a system call for each smaller piece would take longer than copying them together


class DirectFile:
    """A new file that is written front to back, once.

    Large pieces that begin on a page in memory and on a block in the file go straight from there to the device; all
    others go through a small buffer. On file systems without O_DIRECT, the page cache is used. The bytes are
    hashed in memory, so that reading the device later shows whether they arrived.

    Use it as a context manager: leaving it without `finish` closes the file, which stays partially written.

    Args:
        path: The file, which must not exist.
        size: Its size in bytes, if known, so that disk space is reserved at once.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        # A device writes from a huge page at a fifth of the processor time, but to clear one takes 0.1 ms.
        self._bounce = allocate(HUGE if size > HUGE else _BOUNCE)
        self._held = 0  # bytes in the buffer
        self._done = 0  # bytes written to the file: whole blocks
        self._hasher = xxhash.xxh3_128()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._direct = bool(_DIRECT)
        try:
            self._file = os.open(path, flags | _DIRECT, 0o666)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The file system has no O_DIRECT, but may have created the file anyway.
            self._direct = False
            self._file = os.open(path, flags & ~os.O_EXCL, 0o666)
        try:
            if size:
                reserve(self._file, size)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DirectFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> int:
        """Bytes that were passed to `write` so far."""
        return self._done + self._held

    def write(self, data: bytes | bytearray | memoryview, also: Callable[[memoryview], object] | None = None) -> None:
        """Append bytes.

        Args:
            data: The bytes.
            also: Called with each piece of the bytes while it is in the processor's cache.

        Raises:
            OSError: The disk is full or broken.
        """
        view = memoryview(data).cast("B") if len(memoryview(data)) else memoryview(b"")
        is_large = self._held % PAGE == 0 and len(view) >= LARGE
        if is_large:  # btrfs keeps what one call has written as long as other files share a block of it
            self._empty(self._held)
        if is_large and _address(view) % PAGE == 0:
            whole = len(view) // PAGE * PAGE
            for start in range(0, whole, _CHUNK):
                chunk = view[start : min(start + _CHUNK, whole)]
                self._read(chunk, also)
                self._put(chunk)
            view = view[whole:]
        while len(view):
            count = min(len(view), len(self._bounce) - self._held)
            self._bounce[self._held : self._held + count] = view[:count]
            self._read(view[:count], also)
            self._held += count
            view = view[count:]
            if self._held == len(self._bounce):
                self._empty(self._held)
        if is_large:
            self._empty(self._held // PAGE * PAGE)

    def finish(self) -> tuple[str, int]:
        """Force everything to the device, and return the digest (``xxh3_128:hex``) and the size in bytes.

        Raises:
            OSError: The disk is full or broken.
        """
        size, rest = self.position, self._held % PAGE
        self._empty(self._held - rest)
        if rest:
            self._leave_direct()
            self._put(memoryview(self._bounce)[:rest])
        os.ftruncate(self._file, size)
        os.fsync(self._file)
        self.close()
        return named(self._hasher), size

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _read(self, data: memoryview, also: Callable[[memoryview], object] | None) -> None:
        """Hash bytes, and pass them to ``also``."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            if also is not None:
                also(piece)
            self._hasher.update(piece)

    def _empty(self, count: int) -> None:
        """Write the first ``count`` bytes of the buffer, which are whole blocks, and move the rest to its front."""
        if not count:
            return
        self._put(memoryview(self._bounce)[:count])
        rest = self._held - count
        self._bounce[:rest] = self._bounce[count : self._held]
        self._held = rest

    def _put(self, piece: memoryview) -> None:
        while len(piece):
            try:
                count = os.pwrite(self._file, piece, self._done)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._leave_direct()  # some file systems take the flag and refuse the write
                continue
            self._done += count
            piece = piece[count:]
            if self._direct and count % PAGE:
                self._leave_direct()  # a short write; the next one would be refused

    def _leave_direct(self) -> None:
        if self._direct:
            import fcntl

            self._direct = False
            fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) & ~_DIRECT)


def _address(view: memoryview) -> int:
    """Return the address of the bytes; an odd number for read-only ones, which are small."""
    with contextlib.suppress(TypeError):
        return address_of(view)
    return 1
