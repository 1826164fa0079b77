"""Digests over every byte of a checkpoint, which is a file or a directory."""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import xxhash

from ..errors import Unreadable, VerifyError
from ..memory import pages
from ..record import Record

_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # the name belongs to something else
_FEW = 16 * pages.PAGE
_CHUNK = 4 << 20  # bytes per read: whole pages, as direct reads require

Progress = Callable[[int], object]


def digest(path: Path, *, from_device: bool = False, progress: Progress | None = None) -> tuple[str, int]:
    """Return the digest (``xxh3_128:hex``) and the size in bytes of a file or a directory.

    XXH3 notices damage, not forgery, and runs at memory speed. A directory's digest covers the relative path, the
    size and the bytes of each file in it.

    Args:
        path: File or directory.
        from_device: Bypass the page cache, if the system can, so that the bytes come from the device and not from
            memory that was just written.
        progress: Called with the number of bytes after each piece.
    """
    if not path.is_dir():
        return _of_file(path, from_device, progress)
    files = sorted(files_below(path))
    found = [(file.relative_to(path).as_posix(), *_of_file(file, from_device, progress)) for file in files]
    return folder_digest((name, size, inner) for name, inner, size in found), sum(size for _, _, size in found)


def _of_file(path: Path, from_device: bool, progress: Progress | None) -> tuple[str, int]:
    hasher = xxhash.xxh3_128()
    size = _feed(hasher, path, from_device, progress)
    return named(hasher), size


def folder_digest(files: Iterable[tuple[str, int, str]]) -> str:
    """Return the digest of a directory.

    Args:
        files: The relative path, the size and the digest of each file in it, in the order of their paths.
    """
    hasher = xxhash.xxh3_128()
    for name, size, inner in files:
        hasher.update(f"{name}\0{size}\0{inner.rpartition(':')[2]}\n".encode())
    return named(hasher)


class StreamDigest:
    """The digest of a file whose bytes come one after the other."""

    def __init__(self) -> None:
        self._hasher = xxhash.xxh3_128()

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        self._hasher.update(data)

    @property
    def name(self) -> str:
        """The digest of the bytes so far."""
        return named(self._hasher)


def digest_of_open(descriptor: int, progress: Progress | None = None) -> str:
    """Return the digest of an open file, which may have been deleted since, without moving its position.

    Args:
        descriptor: Of the file.
        progress: As in `digest`.
    """
    stream, start = StreamDigest(), 0
    while piece := os.pread(descriptor, _CHUNK, start):
        stream.update(piece)
        start += len(piece)
        if progress is not None:
            progress(len(piece))
    return stream.name


def named(found: xxhash.xxh3_128 | bytes) -> str:
    """Return a digest as in records: with the name of its algorithm."""
    return f"xxh3_128:{found.hex() if isinstance(found, bytes) else found.hexdigest()}"


def verify(record: Record, *, from_device: bool = False, progress: Progress | None = None) -> None:
    """Compare every byte of a record's checkpoint with the record's digest.

    Args:
        record: The record.
        from_device: As in `digest`.
        progress: As in `digest`.

    Raises:
        VerifyError: The checkpoint is missing, or differs.
        Unreadable: It cannot be read now.
    """
    path = record.path
    try:
        if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):  # reading a pipe would wait
            raise VerifyError(f"{path}: is no longer a file or a directory")
        found, size = digest(path, from_device=from_device, progress=progress)
    except FileNotFoundError:
        raise VerifyError(f"{path}: missing; the manifest lists it with {record.size} bytes") from None
    except OSError as error:
        kind = VerifyError if error.errno in _NO_FILE else Unreadable
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from error
    if (found, size) == (record.replacement.get("digest"), record.replacement.get("size")):
        return  # the smaller file is in place already
    if size != record.size:
        raise VerifyError(f"{path}: has {size} bytes; the manifest says {record.size}")
    if found != record.digest:
        raise VerifyError(f"{path}: its bytes changed: digest is {found}; the manifest says {record.digest}")


def files_below(path: Path) -> Iterator[Path]:
    """Yield every file in a directory tree.

    Raises:
        OSError: A folder in it cannot be listed.
    """
    for folder, _, names in os.walk(path, onerror=_raise):  # by default, a folder that cannot be listed is skipped
        yield from (Path(folder, name) for name in names)


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of all files in a directory tree.

    Raises:
        OSError: They cannot be listed.
    """
    return sum(file.stat().st_size for file in (files_below(path) if path.is_dir() else [path]))


def _raise(error: OSError) -> None:
    raise error


def _feed(hasher: xxhash.xxh3_128, path: Path, from_device: bool, progress: Progress | None) -> int:
    size = 0
    with (
        _opened(path, from_device) as file,
        _buffer(os.fstat(file.fileno()).st_size) as buffer,
        memoryview(buffer) as view,
    ):
        while count := file.readinto(view):
            hasher.update(view[:count])
            size += count
            if progress is not None:
                progress(count)
            if count < len(view) and size == os.fstat(file.fileno()).st_size:
                break  # some file systems refuse a read here, of less than a whole block
    return size


def _buffer(size: int) -> mmap.mmap:
    """Return memory for reading a file of ``size`` bytes; for a small one, no huge page, which takes long to zero."""
    try:
        return pages.allocate(min(_CHUNK, pages.round_up(size + 1)))  # one more byte: a short read shows the end
    except OSError:  # too little memory does not make a checkpoint damaged
        return pages.allocate(_FEW)


def _opened(path: Path, from_device: bool) -> io.FileIO:
    """Open a file; if requested, for reads that bypass the page cache if the system supports that."""
    if from_device and (direct := getattr(os, "O_DIRECT", 0)):
        file = None
        try:
            file = io.FileIO(path, opener=lambda name, flags: _open(name, flags | direct))
            with pages.allocate(pages.PAGE) as probe:
                file.readinto(probe)  # some file systems accept the flag but refuse to read
            file.seek(0)
            return file
        except OSError as error:
            if file is not None:
                file.close()
            if error.errno != errno.EINVAL:
                raise
    file = io.FileIO(path, opener=_open)
    if from_device and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file


def _open(name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NONBLOCK)  # a pipe would wait for its other end
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VerifyError(f"{name}: is no longer a regular file")
    return descriptor
