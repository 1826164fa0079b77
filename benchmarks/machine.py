"""The machine on which the figures were measured."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from .report import Table


def _first_line(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")


def _file_system(folder: Path) -> str:
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return "unknown"
    place = str(folder.resolve())
    holding = [m for m in mounts if place == m[4] or place.startswith(m[4].rstrip("/") + "/")]
    found = max(holding, key=lambda m: len(m[4]))
    return found[found.index("-") + 1]


def _version(package: str) -> str | None:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return None


PACKAGES = (
    "torch", "lightning", "keras", "tensorflow-cpu", "tensorflow", "jax", "numpy", "h5py", "isal", "safetensors",
    "pytorch-ignite", "orbax-checkpoint",
)  # fmt: skip


def machine(folder: Path) -> Table:
    """Return a table that describes the machine, without host names or paths.

    Args:
        folder: A folder on the file system to name.
    """
    memory = _first_line("/proc/meminfo", "MemTotal").split()[0]
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    facts = [
        ("cores", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        ("processor", _first_line("/proc/cpuinfo", "model name")),
        ("memory", f"{int(memory) * 1024 / 1e9:.0f} GB" if memory.isdigit() else "unknown"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("file system", _file_system(folder)),
        ("huge pages", pages.read_text().strip() if pages.exists() else "unknown"),
        ("load at the start", f"{os.getloadavg()[0]:.1f} processes"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(filter(None, map(_version, PACKAGES)))),
    ]
    return Table("The machine", ("", ""), facts)
