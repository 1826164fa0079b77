"""The lock of a command on a run directory, so that no training run begins there meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .layout import Layout
from .lock import TrainingLock
from .private_files import make_folder


@contextlib.contextmanager
def command_lock(layout: Layout, command: str) -> Iterator[None]:
    """Hold a run directory.

    Args:
        layout: Its paths. The private folder is created.
        command: Who holds it, such as ``"ckpt doctor"``.

    Raises:
        DirectoryInUse: A training run holds it.
        StoreError: Something else has one of the private names.
    """
    make_folder(layout.private)
    lock = TrainingLock(layout.training_lock, layout.owner, command, may_move=False)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
