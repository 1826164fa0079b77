"""The space that a save must leave free on the disk."""

from __future__ import annotations

import errno
from collections.abc import Callable

from ..store import disk_space
from ..store.manifest import Manifest


def keep_free(min_free: int, manifest: Manifest, run: str, prune: Callable[[], object]) -> None:
    """Make sure that ``min_free`` bytes are left after a save of the same size as the last one.

    Args:
        min_free: The number of bytes.
        manifest: The run directory's manifest.
        run: The run that saves.
        prune: Deletes the checkpoints that no rule keeps. They still exist if a deletion failed, or if the rules have
            changed.

    Raises:
        OSError: Less would be left, even after pruning.
    """
    if not min_free:
        return
    records, folder = manifest.verified(run), manifest.layout.dirpath
    needed = max((record.size for record in records[-1:]), default=0) + min_free
    if disk_space.free(folder) < needed:
        prune()
    if (free := disk_space.free(folder)) < needed:
        raise OSError(errno.ENOSPC, f"{free} bytes are free; {needed} are needed to leave min_free={min_free}")
