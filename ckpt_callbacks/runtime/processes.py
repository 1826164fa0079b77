"""The processes that train together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

_T = TypeVar("_T")
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")  # set by torchrun, by SLURM, and by Lightning for those it launches


@dataclass(frozen=True)
class Agreement:
    """What the processes of a training run have to agree on between two steps.

    Attributes:
        requested: True if a save was requested.
        signal: The number of the signal that asks training to end; 0 for none.
        finished: Number of saves that have finished and were not reported.
        measured: True if something that the policy monitors was measured at this step.
        each_step: True if something that the policy monitors may be measured at any step.
        ahead: Number of steps until the next agreement, which the primary process chooses; 0 in all others.
        time: The primary process's training time in nanoseconds, at the next event; -1 in all other processes.
        wall: Its time of day, in nanoseconds since 1970; -1 in all other processes.
        deadline: The end of its job, in the same unit; -1 if it is unknown, and in all other processes.
    """

    requested: bool
    signal: int
    finished: int
    measured: bool = False
    each_step: bool = False
    ahead: int = 0
    time: int = -1
    wall: int = -1
    deadline: int = -1


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

    def agree(self, own: Agreement) -> Agreement:
        """Combine what all processes know: each fact's highest value. Collective."""
        return own

    def chained_handler(self, handler: Any) -> Any:
        """Return the part of a previously installed signal handler that must still be called."""
        return handler


def is_primary_process(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if this is the first process, judging by the environment before training begins."""
    return all(environ.get(name, "0") in ("", "0") for name in _RANKS)
