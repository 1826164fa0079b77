"""The record of a save, before its file is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..events import Event, EventKind
from ..record import Record
from .decision import Save
from .engine import scores_at
from .policy import Policy
from .state import State
from .stopping import NonFinite


def draft_record(
    save: Save,
    event: Event,
    *,
    measured: Event,
    policy: Policy,
    state: State,
    run: str,
    attempt: int,
    parent: int | None,
    fit: int = 1,
    contents: str,
    metadata: Mapping[str, Any],
    tags: tuple[str, ...] = (),
) -> Record:
    """Return a record of ``save`` with every fact that is known before its file is written.

    It has neither an id nor a file name yet: it gets both when the file is written.

    Args:
        save: What the engine asked for.
        event: The event at which it asked.
        measured: The event whose metrics were measured at the saved weights; often ``event`` itself.
        policy: The policy that `state` belongs to.
        state: The state after ``event``.
        run: Identifies the run.
        attempt: Number of the run's current start, from 1.
        parent: Id of the record from which that start continued, if any.
        fit: Number of the script's `fit`, from 1.
        contents: ``"full"`` or ``"weights"``.
        metadata: Plain JSON values that describe the training.
        tags: The names that the person who asked for the save gave it. Such a save is pinned.
    """
    finite = not _ends_non_finite(policy, state)
    return Record(
        id=0,
        file="",
        step=event.step,
        epoch=event.epoch,
        time=event.time,
        wall=event.wall,
        metrics={name: float(value) for name, value in measured.metrics.items()},
        scores=scores_at(policy, state, measured),
        contents=contents,
        resumable=contents == "full" and finite,
        finite=finite,
        run=run,
        attempt=attempt,
        parent=parent,
        fit=fit,
        exceptional=event.kind is EventKind.EXCEPTION,
        final=event.kind is EventKind.END,
        tags=tags,
        pinned=event.kind is EventKind.DEMAND,
        reasons=save.reasons,
        metadata=metadata,
    )


def _ends_non_finite(policy: Policy, state: State) -> bool:
    """Return whether a run that continued from this state would end at once, because a metric was not finite."""
    rules = policy.stop.parts() if policy.stop is not None else ()
    watched = [(name, rule.consecutive) for rule in rules if isinstance(rule, NonFinite) for name in rule.monitor]
    return any(state.non_finite.get(name, 0) >= consecutive for name, consecutive in watched)
