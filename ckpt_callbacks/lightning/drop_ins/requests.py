"""The requests of a drop-in, as a fit carries them out at an exact place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import proxy

from lightning.pytorch.callbacks import ModelCheckpoint

from ...events import Event
from ...run.committer import SaveOutcome
from ...run.run import Run

log = logging.getLogger("ckpt_callbacks")
_NAMING = (
    "best_k_models", "best_model_path", "best_model_score", "current_score", "kth_best_model_path", "kth_value",
    "last_model_path",
)  # fmt: skip


def naming(callback: ModelCheckpoint) -> dict[str, Any]:
    """Return the attributes of a callback that name files, and their scores, as they are now."""
    found = {name: value for name, value in vars(callback).items() if name in _NAMING}
    return {**found, "best_k_models": dict(found["best_k_models"])}


@dataclass
class Asked:
    """A save that a drop-in asks for.

    Attributes:
        name: The file in the directory.
        reason: Why.
        contents: ``full`` or ``weights``.
        named: What the callback's attributes name with it; see `naming`.
        first: Another save of the same state, whose file it shares.
        done: Called with the outcome.
        number: The number of the save, once it is carried out.
        is_shared: Whether another save shares the file.
        is_saved: Whether the file exists.
    """

    name: str
    reason: str
    contents: str
    named: Mapping[str, Any]
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

    def tell(self, loggers: Iterable[Any], callback: ModelCheckpoint, is_saved: bool) -> None:
        """Tell the loggers of each file, once those of all names exist. A failure of theirs is logged."""
        self.is_saved = is_saved
        if not self.is_shared:
            for one in (self.first, self):
                if one is not None and one.is_saved:
                    _show(one.named, loggers, callback)


def remove(run: Run, name: str, after: Asked | None, event: Event) -> None:
    """Delete a file, unless the save that takes its place fails."""
    run.named.delete(name, None if after is None else after.number)


def point(run: Run, name: str, to: str, event: Event) -> None:
    """Make a symbolic link."""
    run.named.link(name, to, reason="save_last='link'", symbolic=True)


def _show(named: Mapping[str, Any], loggers: Iterable[Any], callback: ModelCheckpoint) -> None:
    # Loggers look for files in the attributes of the callback, which may name later ones by now, and not this one.
    attributes = vars(callback)
    now = {name: attributes[name] for name in named}
    attributes.update(named)
    try:
        for logger in loggers:
            try:
                logger.after_save_checkpoint(proxy(callback))
            except Exception as error:  # the checkpoint is safe
                log.warning("%s failed on a checkpoint: %s: %s", type(logger).__name__, type(error).__name__, error)
    finally:
        attributes.update(now)
