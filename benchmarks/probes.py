"""Memory and files of this process, as the operating system reports and controls them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def _status_bytes(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(field + ":")]
    return int(found[0]) * 1024 if found else None


def resident() -> int | None:
    """Return the bytes of memory that this process holds now, or None if the system does not report them."""
    return _status_bytes("VmRSS")


def forget_peak() -> None:
    """Make `peak` count from now on."""
    with contextlib.suppress(OSError):  # `peak` then counts from the start of the process, which only makes it larger
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int | None:
    """Return the most bytes of memory that this process has held since `forget_peak`."""
    return _status_bytes("VmHWM")


def force_to_disk(folder: Path) -> None:
    """Call fsync on every file and directory below a folder, and on the folder."""
    for place, _, names in os.walk(folder):
        for path in [place, *[os.path.join(place, name) for name in names]]:
            if not os.path.islink(path):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def drop_from_cache(path: Path) -> None:
    """Drop a file, or all files below a folder, from the page cache, so that the next read goes to the disk."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # only clean pages can be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
