"""The requests of a drop-in, as a fit carries them out at an exact place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...events import Event
from ...run.committer import SaveOutcome
from ...run.run import Run

log = logging.getLogger("ckpt_callbacks")


@dataclass
class Asked:
    """A save that a drop-in asks for.

    Attributes:
        name: The file in the directory.
        reason: Why.
        contents: ``full`` or ``weights``.
        first: Another save of the same state, whose file it shares.
        done: Called with the outcome.
        number: The number of the save, once it is carried out.
        is_shared: Whether another save shares the file.
        is_saved: Whether the file exists.
    """

    name: str
    reason: str
    contents: str
    first: Asked | None = None
    done: Callable[[SaveOutcome], None] | None = None
    number: int | None = None
    is_shared: bool = False
    is_saved: bool = False

    def __post_init__(self) -> None:
        if self.first is not None:
            self.first.is_shared = True

    def carry_out(self, run: Run, event: Event) -> None:
        """Take a snapshot, or give the other save's file a second name."""
        reason = self.reason or "asked for by a script"
        if self.first is not None:
            self.number = run.named.link(
                self.name, self.first.name, reason=reason, after=self.first.number, done=self.done
            )  # fmt: skip
        else:
            self.number = run.named.save(self.name, event, reason=reason, contents=self.contents, done=self.done)

    def tell(self, loggers: Iterable[Any], callback: Any, is_saved: bool) -> None:
        """Tell the loggers, once the files of all names exist. A failure of theirs is logged.

        The original tells them after each file, and they look at all that it names.
        """
        self.is_saved = is_saved
        if self.is_shared:
            return
        for logger in [*loggers] * (int(is_saved) + int(self.first is not None and self.first.is_saved)):
            try:
                logger.after_save_checkpoint(callback)
            except Exception as error:  # the checkpoint is safe
                log.warning("%s failed on a checkpoint: %s: %s", type(logger).__name__, type(error).__name__, error)


def remove(run: Run, name: str, after: Asked | None, event: Event) -> None:
    """Delete a file, unless the save that takes its place fails."""
    run.named.delete(name, None if after is None else after.number)


def point(run: Run, name: str, to: str, event: Event) -> None:
    """Make a symbolic link."""
    run.named.link(name, to, reason="save_last='link'", symbolic=True)
