"""The blocks of the disk that the checkpoints of a run share, because some of their arrays are equal."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import first_line
from ..formats import format_of
from ..record import Record
from ..store.shared_blocks import can_share, share
from .directory import RunDirectory

log = logging.getLogger("ckpt_callbacks")


class SharedBlocks:
    """Lets each checkpoint share the blocks of equal arrays, such as frozen layers, with the one before it.

    It is a listener of a run. It does nothing on file systems that cannot share blocks.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._is_possible: bool | None = None  # None if that is not known yet

    @property
    def background(self) -> bool:
        """Whether there is anything to do. Equal arrays are read once more, and training does not wait for that."""
        return self._is_possible is not False

    def __call__(self, record: Record) -> None:
        if not (self.background and self._directory.processes.is_primary):
            return
        try:
            if self._is_possible is None:
                self._is_possible = can_share(record.path)
            before = [r for r in self._directory.manifest.live() if r.id < record.id and r.path.exists()]
            if self._is_possible and before:
                shared = share_equal(before[-1].path, record.path)
                log.info("%s: shares %d bytes of the disk with %s", record.path, shared, before[-1].file)
        except Exception as error:  # whatever a damaged file raises, or one that was deleted meanwhile
            log.debug("%s: shares no blocks: %s", record.path, first_line(error))


def share_equal(first: Path, second: Path) -> int:
    """Let the second file use the blocks of the first one for equal arrays, and return their bytes.

    Raises:
        Exception: Whatever a damaged file causes.
    """
    form = format_of(second)
    if form is None or form.places is None or first.is_dir() or second.is_dir() or format_of(first) is not form:
        return 0
    known = form.places(first)
    ranges = [(known[key], place, key[1]) for key, place in form.places(second).items() if key in known]
    return share(first, second, ranges)
