"""The room that the checkpoints of a run take, as far as it is limited."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import PolicyError
from ..record import Record
from ..units import rough_size
from .view import RunView

log = logging.getLogger("ckpt_callbacks")

_FULL = 0.9  # of the budget


class TotalSize:
    """The budget of a run directory, with what the user has been told about it.

    Args:
        dirpath: The run directory, for messages.
        view: The run's checkpoints, with the budget.
    """

    def __init__(self, dirpath: Path, view: RunView) -> None:
        self._dirpath, self._view = dirpath, view
        self._said_full = self._said_over = False

    def check(self, name: str) -> None:
        """Refuse a budget that is smaller than one of the run's checkpoints.

        Args:
            name: The caller's name in the message.

        Raises:
            PolicyError: It is smaller.
        """
        limit, last = self._view.max_total_size, self._view.last()
        if limit is not None and last is not None and last.size > limit:
            raise PolicyError(
                f"{name}: max_total_size is {limit} bytes, and {last.path} alone takes {last.size}; expected room for "
                "at least three checkpoints: the last one, the best one, and the next one"
            )

    def expected(self, draft: Record) -> int:
        """Return the bytes that a save will take: those of the last one with the same contents; 0 if there is none."""
        found = [r for r in self._view.records() if r.contents == draft.contents and not r.reduced]
        return found[-1].size if found else 0

    def report(self, incoming: int) -> None:
        """Warn, once each, if a save exceeds the budget, and if the checkpoints have used up most of it.

        Args:
            incoming: Bytes of a checkpoint that is about to be written; 0 after a save.
        """
        view = self._view
        if (limit := view.max_total_size) is None or view.policy is None:
            return
        fitted = view.fitted(incoming)
        kept, size = fitted.plan.keep, sum(record.size for record in fitted.plan.keep)
        if fitted.over and not self._said_over:
            self._said_over = True
            what = f"{len(kept)} checkpoint{'s' if len(kept) != 1 else ''} that must stay ({rough_size(size)})"
            log.warning(
                "%s: max_total_size is %s, but %s; nothing else is kept", self._dirpath, rough_size(limit),
                f"a save of {rough_size(incoming)} comes beside {what}; it is saved nevertheless" if incoming else
                f"{what} take{'s' if len(kept) == 1 else ''} more",
            )  # fmt: skip
        if not incoming and size > _FULL * limit and not (self._said_full or fitted.over):
            self._said_full = True
            order = view.removal_order(kept)
            log.warning(
                "%s: the checkpoints take %s of max_total_size=%s; %s; `ckpt du %s --what-next` lists the order",
                self._dirpath, rough_size(size), rough_size(limit),
                f"the next one to go is {order[0].file}" if order else "none of them may go", self._dirpath,
            )  # fmt: skip
