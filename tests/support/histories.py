"""Random policies, histories and records for the engine's property tests, and a player of histories."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st

from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.policy import composition, metric, policy, retention, smoothing, stopping, triggers
from ckpt_callbacks.policy import contents as held
from ckpt_callbacks.policy import pace as adaptive
from ckpt_callbacks.policy.engine import decide
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.pace import Optimal
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import AnyKeep, KeepAll, KeepBest, KeepEvery, KeepLast, KeepTagged, KeepWithin
from ckpt_callbacks.policy.smoothing import EMA, Mean, Median
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.stopping import AnyStop, Diverges, NonFinite, Patience, Reaches
from ckpt_callbacks.policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from ckpt_callbacks.record import Record, Status

_TIMES = int(os.environ.get("EXAMPLES", "1"))  # more in `make test-faults`
usual = settings(max_examples=50 * _TIMES, deadline=None)
thorough = settings(max_examples=100 * _TIMES, deadline=None)

# Where a repr is read back.
NAMESPACE = {
    name: value
    for module in (adaptive, composition, held, metric, policy, retention, smoothing, stopping, triggers)
    for name, value in vars(module).items()
    if not name.startswith("_")
}

NAMES = ("val_loss", "val/acc", "loss")
TAGS = ("release", "stable")
ODD_VALUES = (math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0)

numbers = st.floats(-10, 10)
values = numbers | st.sampled_from(ODD_VALUES)
measured = st.dictionaries(st.sampled_from(NAMES), values, max_size=len(NAMES))

# -- policies --------------------------------------------------------------------------------------------------------

smoothings = st.floats(0.01, 1).map(EMA) | st.integers(1, 4).map(Mean) | st.integers(1, 4).map(Median)
weighted = st.dictionaries(st.sampled_from(NAMES), st.floats(-2, 2), min_size=1)
listed = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
metrics = st.builds(
    Metric,
    st.sampled_from(NAMES) | listed | weighted,
    mode=st.sampled_from(["min", "max"]),
    smoothing=st.none() | smoothings,
    min_delta=st.just(0.0) | st.floats(0, 1),
    min_delta_mode=st.sampled_from(["abs", "rel"]),
    baseline=st.none() | numbers,
    start_from_epoch=st.integers(0, 3),
    nan=st.sampled_from(["stale", "skip"]),
    per=st.sampled_from(["epoch", "step"]),
)

intervals = st.one_of(
    st.builds(Every, epochs=st.integers(1, 4)),
    st.builds(Every, steps=st.integers(1, 30)),
    st.builds(Every, seconds=st.floats(0.5, 90)),
    st.builds(Every, minutes=st.integers(1, 3) | st.floats(0.1, 3)),
    st.builds(Every, hours=st.floats(0.01, 0.1)),
)
adaptive_leaves = st.builds(Every, overhead=st.floats(0.01, 0.9)) | st.builds(Optimal, st.floats(1, 5000))
marks = st.lists(st.integers(1, 60), min_size=1, max_size=4)
plain_leaves = st.one_of(
    intervals,
    adaptive_leaves,
    st.builds(At, steps=marks),
    st.builds(At, epochs=marks),
    st.builds(Improves, metrics),
    st.just(OnPreempt()),
    st.just(OnException()),
    st.builds(OnDeadline, st.integers(1, 300) | st.floats(0.1, 300)),
    st.builds(OnDeadline, st.sampled_from([10.0, 60.0]), end=st.floats(1, 500)),
)


def at_odd_steps(event: Event) -> bool:
    return event.step % 2 == 1


def _combined(part):
    return st.one_of(
        st.tuples(part, part).map(lambda two: two[0] | two[1]),
        st.tuples(part, part).map(lambda two: two[0] & two[1]),
        part.map(lambda one: ~one),
    )


adaptive_triggers = st.recursive(adaptive_leaves | intervals, _combined, max_leaves=3)
readable_triggers = st.recursive(plain_leaves, _combined, max_leaves=5)  # their repr can be read back
all_triggers = st.recursive(plain_leaves | st.just(Predicate(at_odd_steps)), _combined, max_leaves=5)


_rounded = [None, None, *(dtype for dtype in held.DTYPES if dtype not in held.WHOLE_NUMBERS)]
_kinds = [("full", dtype) for dtype in _rounded] + [("weights", dtype) for dtype in (None, *held.DTYPES)]
wanted_contents = st.builds(
    lambda kind, source, **rest: held.Contents(*kind, source=source if kind[0] == "weights" else None, **rest),
    kind=st.sampled_from(_kinds),
    source=st.sampled_from([None, None, *held.SOURCES]),
    weights=st.sampled_from(["all", *held.PARAMETERS]),
    drop=st.lists(st.sampled_from(["a", "a.b", "*.bias", "b"]), max_size=2),
)
contents = st.sampled_from([None, None, "weights", "full"]) | wanted_contents


def _rules(by):
    return st.one_of(
        st.builds(KeepAll, contents=contents),
        st.builds(KeepLast, st.integers(1, 4), contents=contents),
        st.builds(KeepBest, st.integers(1, 3), by=by, contents=contents),
        st.builds(KeepEvery, epochs=st.integers(1, 4), contents=contents),
        st.builds(KeepEvery, steps=st.integers(1, 30), contents=contents),
        st.builds(KeepEvery, hours=st.floats(0.01, 1), contents=contents),
        st.builds(KeepWithin, st.floats(0.01, 1), contents=contents),
        st.builds(KeepTagged, st.sampled_from(TAGS), contents=contents),
    )


def retentions(by=metrics):
    return st.lists(_rules(by), min_size=1, max_size=4).map(
        lambda rules: rules[0] if len(rules) == 1 else AnyKeep(tuple(rules))
    )


single_stops = st.one_of(
    st.builds(Patience, metrics, st.integers(1, 4), st.integers(0, 2)),
    st.builds(Reaches, metrics, numbers),
    st.builds(Diverges, metrics, numbers),
    st.builds(NonFinite, st.sampled_from(NAMES) | listed, st.integers(1, 3)),
)
stops = st.lists(single_stops, min_size=1, max_size=3).map(
    lambda rules: rules[0] if len(rules) == 1 else AnyStop(tuple(rules))
)


def policies(save=all_triggers):
    return st.builds(Policy, save=save, keep=retentions(), stop=st.none() | stops, best_by=st.none() | metrics)


# -- histories -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """The next thing that happens: an event some time later, or the outcome of a pending save.

    Attributes:
        seconds: Training time that passes.
        clock: Seconds by which the time of day moves; it may be set back.
        left: At a start: seconds from then to the end of the new job, or None where nobody knows.
        blocked: Of an outcome: what the save cost, if that was measured.
    """

    kind: EventKind
    steps: int = 0
    epochs: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] | None = None
    which: int = 0
    clock: float = 0.0
    left: float | None = None
    blocked: float | None = None


def _moves(kind, **more):
    steps, seconds, clock = st.integers(0, 25), st.floats(0, 100), st.floats(-5, 100)
    return st.builds(Move, st.just(kind), steps=steps, seconds=seconds, clock=clock, metrics=measured, **more)


_costs = st.none() | st.floats(0, 10)
outcomes = st.builds(
    Move, st.sampled_from([EventKind.SAVED, EventKind.DROPPED]), which=st.integers(0, 3), blocked=_costs
)
_starts = st.builds(
    Move,
    st.just(EventKind.START),
    steps=st.integers(-60, 60),
    epochs=st.integers(-3, 3),
    clock=st.floats(0, 200),
    left=st.none() | st.floats(1, 400),
)
moves = st.one_of(
    _moves(EventKind.STEP_END),
    _moves(EventKind.STEP_END, epochs=st.integers(0, 1)),
    _moves(EventKind.VALIDATION_END),
    _moves(EventKind.EPOCH_END, epochs=st.integers(1, 2)),
    _moves(EventKind.PREEMPT),
    _moves(EventKind.DEMAND),
    _moves(EventKind.EXCEPTION),
    _moves(EventKind.END),
    outcomes,
    outcomes,
    _starts,
)
histories = st.lists(moves, max_size=8) | st.lists(moves, min_size=12, max_size=30)


def play(policy: Policy, history: list[Move]) -> list[Event]:
    """The events of ``history``. They depend on the policy, because only saves that it asks for have an outcome."""
    state, events, under_way = State(), [], []
    step, epoch, time, wall, deadline = 0, 0, 0.0, 0.0, 200.0
    for move in history:
        if move.kind in (EventKind.SAVED, EventKind.DROPPED):
            if not under_way:
                continue
            save_id = under_way.pop(move.which % len(under_way))
            event = Event(move.kind, save_id=save_id, blocked=move.blocked)
        else:
            step, epoch = max(0, step + move.steps), max(0, epoch + move.epochs)
            time, wall = time + move.seconds, wall + move.clock
            if move.kind is EventKind.START:
                deadline = None if move.left is None else wall + move.left
            facts = {"step": step, "epoch": epoch, "time": time, "wall": wall, "deadline": deadline}
            event = Event(move.kind, **facts, metrics=move.metrics or {})
        events.append(event)
        state, decision = decide(policy, state, event)
        if decision.save:
            under_way.append(decision.save.id)
    return events


# -- records ---------------------------------------------------------------------------------------------------------

# The metrics in the records below.
ranking_metrics = st.sampled_from(
    [
        Metric("val_loss", mode="min"),
        Metric("val/acc", mode="max", start_from_epoch=3),
        Metric(["val_loss", "loss"], mode="max"),
        Metric({"val_loss": 1, "loss": -2}, mode="min"),
        Metric("val_loss", mode="min", smoothing=EMA(0.3)),
        Metric("loss", mode="max", smoothing=Mean(2), start_from_epoch=3),
    ]
)

_drafts = st.builds(
    Record,
    id=st.just(0),
    file=st.just(""),
    step=st.integers(0, 200),
    epoch=st.integers(0, 12),
    time=st.floats(0, 7200),
    wall=st.floats(0, 7200),
    metrics=measured,
    scores=st.dictionaries(st.sampled_from(["ema(0.3) of val_loss", "mean(2) of loss", "val/acc"]), values),
    resumable=st.booleans(),
    status=st.sampled_from([Status.COMMITTED, Status.VERIFIED, Status.VERIFIED]),
    contents=st.sampled_from(["full", "full", "weights"]),
    reduced=st.sampled_from([{}, {}, {"dtype": "bf16"}, {"dtype": "fp16", "drop": ["a"]}]),
    superseded=st.integers(0, 3).map(lambda n: n == 0),
    exceptional=st.integers(0, 5).map(lambda n: n == 0),
    final=st.integers(0, 5).map(lambda n: n == 0),
    pinned=st.integers(0, 7).map(lambda n: n == 0),
    tags=st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple),
)
records = (st.lists(_drafts, max_size=4) | st.lists(_drafts, min_size=6, max_size=14)).map(
    lambda drafts: [replace(draft, id=i) for i, draft in enumerate(drafts, start=1)]
)
