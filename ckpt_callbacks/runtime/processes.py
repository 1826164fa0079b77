"""The processes that train together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar, cast

_T = TypeVar("_T")
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")  # set by torchrun, by SLURM, and by Lightning for those it launches


class Processes:
    """The processes of one training run. The default is a single process; adapters override it.

    Attributes:
        is_primary: True for the process that decides, writes to the journal and deletes.
        is_single: True if there is no other process.
    """

    is_primary = True
    is_single = True

    def broadcast(self, value: _T | None) -> _T:
        """Return the primary process's value on every process. Collective, in the same order everywhere.

        Args:
            value: The value; the other processes may pass None.
        """
        return cast(_T, value)

    def all_reduce_requests(
        self, requested: bool, number: int, finished: int, measured: bool
    ) -> tuple[bool, int, int, bool]:
        """Combine the requests of all processes. Collective.

        Args:
            requested: True if a save was requested from this process.
            number: The signal that this process was sent; 0 for none.
            finished: Number of saves that this process knows to have finished.
            measured: True if this process has measured anything that the policy monitors.

        Returns:
            Whether a save was requested from any process, a signal that any of them received, the highest number of
            finished saves, and whether any process has measured anything.
        """
        return requested, number, finished, measured

    def chained_handler(self, handler: Any) -> Any:
        """Return the part of a previously installed signal handler that must still be called."""
        return handler


def is_primary_process(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if this is the first process, judging by the environment before training begins."""
    return all(environ.get(name, "0") in ("", "0") for name in _RANKS)
