"""The kind of a file: a regular one, a folder, or something that a reader may wait for without end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_STREAMS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")  # opened by the shell, as for ckpt check <(...)


def endless_kind(path: Path) -> str:
    """Return what a path names if reading it may never end, such as "a named pipe"; otherwise an empty string.

    Args:
        path: The path; links are followed. A pipe that the shell has opened ends.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError:
        return ""
    if kind in (stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFIFO and str(path).startswith(_STREAMS)):
        return ""
    return KINDS.get(kind, "of an unknown kind")
