"""File systems with reflinks, which are mounted from a file for one test."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

SIZE = {"xfs": 320 << 20, "btrfs": 256 << 20}  # bytes; XFS has at least 300 MiB


@contextmanager
def mounted(kind, folder, size=0):
    """Yield a folder on a new file system of this kind; skip the test where none can be mounted."""
    if os.geteuid() or shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"needs root, and mkfs.{kind}")
    image, top = folder / f"{kind}.img", folder / kind
    with image.open("wb") as file:
        file.truncate(max(size, SIZE[kind]))
    top.mkdir()
    for command in (f"mkfs.{kind}", "-q", image), ("mount", "-o", "loop", image, top):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{command[0]} does not work here: {done.stderr.strip()}")
    try:
        yield top
    finally:
        subprocess.run(["umount", "-l", top], check=True)  # something on the machine may look at it
        image.unlink()


def used(top):
    """Return the bytes that are in use on a file system, after everything has reached it."""
    descriptor = os.open(top, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        subprocess.run(["sync", "-f", top], check=True)
    finally:
        os.close(descriptor)
    found = os.statvfs(top)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
