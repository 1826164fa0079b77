"""Functions that are called with each checkpoint once it is durable and verified."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from ..record import Record
from ..runtime.worker import BackgroundWorker

log = logging.getLogger("ckpt_callbacks")

Listener = Callable[[Record], None]


class Notifier:
    """Calls the listeners of a run.

    A listener is called on the training thread. If its attribute ``background`` is true, as for a tracker or a mirror,
    it is called on a thread for listeners instead, in the order of the saves. If a listener raises an exception, the
    exception is logged, and neither the other listeners nor training are affected.

    Args:
        listeners: The run's list, which may grow and shrink at any time.
        where: The run directory, for messages.
    """

    def __init__(self, listeners: Sequence[Listener], where: str) -> None:
        self._listeners, self._where = listeners, where
        self._worker = BackgroundWorker()

    def notify(self, record: Record) -> None:
        """Call each listener with ``record``."""
        for listener in tuple(self._listeners):
            if getattr(listener, "background", False):
                self._worker.submit(partial(self._call, listener, record))
            else:
                self._call(listener, record)

    def close(self) -> None:
        """Wait until every background listener has been called."""
        self._worker.close()

    def _call(self, listener: Listener, record: Record) -> None:
        try:
            listener(record)
        except Exception as error:  # its failure is no reason to end a training run
            log.warning("%s: a listener failed on %s: %s: %s", self._where, record.file, type(error).__name__, error)
