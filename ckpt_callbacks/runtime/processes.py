"""The processes that train together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")  # set by torchrun, by SLURM, and by Lightning for those it launches


class Peers:
    """The processes that train together. Here: one. An adapter for several overrides all of it.

    Attributes:
        leader: This process decides, writes to the journal and deletes. alone: there is no other one.
    """

    leader = True
    alone = True

    def share(self, value: _T) -> _T:
        """The leader's ``value``, on every process. All of them call it in the same order."""
        return value

    def agree(self, asked: bool, number: int, landed: int) -> tuple[bool, int, int]:
        """Whether any process is asked for a save, the signal that any was sent (0: none), how many saves landed."""
        return asked, number, landed

    def chained(self, handler: Any) -> Any:
        """What is still to be called of a signal handler that was there before."""
        return handler


def leads(environ: Mapping[str, str] = os.environ) -> bool:
    """This process is the first of its training, as far as its environment tells before the training begins."""
    return all(environ.get(name, "0") in ("", "0") for name in _RANKS)
