"""The memory that this process may still allocate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 writes the largest number of pages for "no limit"

# For each version of cgroups: the files with its limits, the file with the usage, and the lines of the file cache in
# ``memory.stat``. That cache is dropped when memory is needed; a tmpfs counts as cache in other lines, and stays.
_V2 = (("memory.max", "memory.high"), "memory.current", {"inactive_file", "active_file"})
_V1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes", {"total_inactive_file", "total_active_file"})


def available_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Return the bytes that this process may still allocate without swapping; None if unknown.

    The limits of containers, jobs (SLURM) and services (systemd) are respected. They may be set on any group above the
    process's own; the tightest one applies.

    Args:
        proc: Mount point of the kernel's process files.
        cgroups: Mount point of the control groups.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (proc / "meminfo").read_text().splitlines()
        found += [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found += _left(cgroups, path, *_V2)
            elif "memory" in controllers.split(","):
                found += _left(cgroups / "memory", path, *_V1)
    return min(found, default=None)


def _left(mounted: Path, path: str, limits: tuple[str, ...], used: str, cache: set[str]) -> Iterator[int]:
    """Yield the bytes below each limit, from a group up to the root of the mounted tree."""
    group = PurePosixPath(path.lstrip("/"))
    if ".." in group.parts:  # outside of this container
        group = PurePosixPath()
    for level in (group, *group.parents):
        # A container may know its path on the host, yet see only its own group, as the root.
        with contextlib.suppress(OSError, ValueError):
            folder = mounted / level
            held = int((folder / used).read_text())
            with contextlib.suppress(OSError, ValueError):
                pairs = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
                held -= sum(int(count) for name, count in pairs if name in cache)
            for name in limits:
                with contextlib.suppress(OSError, ValueError):  # "max" is not a number
                    if (limit := int((folder / name).read_text())) < _UNLIMITED:
                        yield limit - held
