"""The blocks of the disk that the checkpoints of a run share, because some of their arrays are equal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import first_line
from ..formats import format_of
from ..record import Record
from ..runtime.worker import Worker
from ..store.shared_blocks import can_share, share
from .view import RunView

log = logging.getLogger("ckpt_callbacks")

_Key = tuple[int, str]  # of a file: the id of its record, and its digest


class SharedBlocks:
    """Lets each checkpoint share the blocks of equal arrays, such as frozen layers, with the one before it.

    It does nothing on file systems that cannot share blocks.

    Args:
        view: The run, with a policy.
        worker: Compares the files. It is never the thread that trains, and not the one that saves.
    """

    def __init__(self, view: RunView, worker: Worker) -> None:
        self._view, self._worker, self._is_stopped = view, worker, False
        self._is_possible: bool | None = None  # None if that is not known yet
        self._done: set[tuple[_Key, _Key]] = set()  # the pairs of files that were compared

    def begin(self) -> None:
        """Begin with the files that are new, unless that is under way."""
        self._is_stopped = False
        if self._is_possible is not False and not self._worker.waiting and (pair := self._next()) is not None:
            if self._is_possible is None:
                with contextlib.suppress(OSError):  # it was deleted meanwhile, or is damaged; the next one tells
                    self._is_possible = can_share(pair[0].path)
            if self._is_possible:
                self._worker.submit(self._share_all)

    def finish(self) -> None:
        """Look at all files that are new, and end the thread."""
        self._worker.wait()
        self.begin()
        self._worker.close()

    def stop(self) -> None:
        """Leave what is under way, after the piece that the system compares now."""
        self._is_stopped = True

    def _next(self) -> tuple[Record, Record] | None:
        """Return the next record to look at, and the one with which it may share."""
        assert self._view.policy is not None
        soon_smaller = {record.id for record in self._view.by_rules().thin}  # their blocks go with the larger files
        records = [record for record in self._view.records() if record.id not in soon_smaller]
        fit = [r for r in records if (form := format_of(r.path)) is not None and form.places is not None]
        keys = {_key(record) for record in fit}
        self._done = {pair for pair in self._done if pair[0] in keys}
        for number, record in enumerate(fit):
            other = _neighbour(record, fit[:number][::-1], fit[number + 1 :])
            if other is not None and (_key(record), _key(other)) not in self._done:
                return record, other
        return None

    def _share_all(self) -> None:
        while not self._is_stopped and (pair := self._next()) is not None:
            record, other = pair
            self._done.add((_key(record), _key(other)))
            try:
                shared = share_equal(other.path, record.path, lambda: not self._is_stopped)
                log.info("%s: shares %d bytes of the disk with %s", record.path, shared, other.file)
            except Exception as error:  # whatever a damaged file raises, or one that was deleted meanwhile
                log.debug("%s: shares no blocks: %s", record.path, first_line(error))


def share_equal(first: Path, second: Path, may: Callable[[], bool] = lambda: True) -> int:
    """Let the second file use the blocks of the first one for equal arrays, and return their bytes.

    Args:
        first: An older file.
        second: A new one.
        may: Asked again and again: whether to go on.

    Raises:
        Exception: Whatever a damaged file causes.
    """
    form = format_of(second)
    if form is None or form.places is None or first.is_dir() or second.is_dir() or format_of(first) is not form:
        return 0
    known = form.places(first)
    ranges = [(known[key], place, key[1]) for key, place in form.places(second).items() if key in known]
    return share(first, second, ranges, may)


def _key(record: Record) -> _Key:
    return record.id, record.digest


def _neighbour(record: Record, older: Sequence[Record], newer: Sequence[Record]) -> Record | None:
    """Return the nearest record, from which least has changed: an older one with the same contents, if there is one."""
    alike = [other for other in (*older, *newer) if other.contents == record.contents]
    return next(iter((*alike, *older)), None)
