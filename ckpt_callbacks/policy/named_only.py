"""The trigger of a run in which other code decides when to save, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..record import Attempt
from .composition import EventView, Firing, Trigger
from .horizon import NEVER, Horizon
from .state import State

NAMED = "named_elsewhere"  # the fact that marks a start of training whose files other code names


def is_named_elsewhere(attempts: Sequence[Attempt]) -> bool:
    """Return whether other code names the files of a directory, as the newest of its starts of training says."""
    return bool(attempts) and bool(attempts[-1].facts.get(NAMED))


@dataclass(frozen=True)
class NamedOnly(Trigger):
    """Ask for no save, not even at the end of training. Other code, such as a drop-in for ModelCheckpoint, asks."""

    may_differ_across_ranks = False

    def check(self, view: EventView) -> Firing | None:
        return None

    def quiet_until(self, state: State, deadline: float | None) -> Horizon:
        return NEVER

    def describe(self) -> str:
        return "what other code asks for"
