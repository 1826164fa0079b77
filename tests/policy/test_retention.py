"""Retention rules: what each keeps, and what is always kept."""

import pytest

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.ranking import final_record, last_record, newest_resumable
from ckpt_callbacks.policy.retention import (
    AnyKeep,
    KeepAll,
    KeepBest,
    KeepEvery,
    KeepLast,
    KeepTagged,
    KeepWithin,
)
from ckpt_callbacks.policy.smoothing import EMA
from ckpt_callbacks.record import Status
from tests.policy.kept import ACC, HOUR, INF, NAN, NOTHING_ELSE, VAL, kept, kept_by, record, records
from tests.support.ids import readable

FIVE = records(0.5, 0.3, 0.4, 0.2, 0.9)
AT_STEPS = [record(i, step=step) for i, step in enumerate([5, 10, 15, 25, 31, 39, 60], start=1)]
AT_EPOCHS = [record(i, epoch=epoch) for i, epoch in enumerate([0, 1, 1, 2, 3, 6], start=1)]
AT_HOURS = [record(i, time=h * HOUR) for i, h in enumerate([0.4, 0.5, 0.9, 1.2, 2.6], start=1)]
AT_WALL = [record(i, wall=1000 * HOUR + h * HOUR) for i, h in enumerate([0, 1, 2.5, 3], start=1)]


@pytest.mark.parametrize(
    ("rule", "of", "ids"),
    [
        (KeepAll(), FIVE, [1, 2, 3, 4, 5]),
        (KeepAll(), [], []),
        (KeepLast(), FIVE, [5]),
        (KeepLast(2), FIVE, [4, 5]),
        (KeepLast(9), FIVE, [1, 2, 3, 4, 5]),
        (KeepBest(1, by=VAL), FIVE, [4]),
        (KeepBest(3, by=VAL), FIVE, [2, 3, 4]),
        (KeepBest(2, by=Metric("val_loss", mode="max")), FIVE, [1, 5]),
        (KeepBest(2, by=ACC), FIVE, []),  # nobody has measured it
        (KeepBest(2, by=VAL), records(NAN, 0.5, -INF, INF), [2]),
        (KeepBest(2, by=VAL), records(NAN, INF), []),
        (KeepBest(1, by=VAL), records(0.5, 0.5, 0.5), [1]),  # the oldest of equals
        (KeepBest(1, by=VAL), records(0.0, 0.5, -0.5), [3]),
        (KeepBest(1, by=VAL), [record(1, metrics={"val_loss": 0.1}, exceptional=True), *records(0.5)], [1]),
        (KeepEvery(steps=10), AT_STEPS, [2, 4, 5, 7]),  # 10, 25 for 20, 31 for 30, 60
        (KeepEvery(steps=100), AT_STEPS, []),
        (KeepEvery(epochs=1), AT_EPOCHS, [2, 4, 5, 6]),
        (KeepEvery(epochs=2), AT_EPOCHS, [4, 6]),
        (KeepEvery(hours=0.5), AT_HOURS, [2, 4, 5]),
        (KeepEvery(hours=1), AT_HOURS, [4, 5]),
        (KeepWithin(hours=1), AT_WALL, [3, 4]),
        (KeepWithin(hours=2), AT_WALL, [2, 3, 4]),  # just as old is young enough
        (KeepWithin(hours=0.25), AT_WALL, [4]),
        (KeepTagged("a"), [record(1, tags=("a", "b")), record(2, tags=("b",)), record(3)], [1]),
    ],
    ids=readable,
)
def test_what_a_rule_keeps(rule, of, ids):
    assert kept_by(rule, of) == ids


def test_best_by_a_smoothed_metric_goes_by_the_scores():
    smoothed = Metric("val_loss", mode="min", smoothing=EMA(0.3))
    of = [
        record(1, metrics={"val_loss": 0.1}, scores={"ema(0.3) of val_loss": 0.9}),
        record(2, metrics={"val_loss": 0.5}, scores={"ema(0.3) of val_loss": 0.4}),
        record(3, metrics={"val_loss": 0.05}),
    ]
    assert kept_by(KeepBest(1, by=smoothed), of) == [2]
    assert kept_by(KeepBest(1, by=smoothed.raw), of) == [3]


def test_superseded_records_count_as_before_but_do_not_replace_the_current_branch():
    dead = [record(i, metrics={"val_loss": i / 10}, superseded=True) for i in (1, 2)]
    live = [record(i, metrics={"val_loss": i / 10}) for i in (3, 4, 5)]
    assert kept_by(KeepBest(2, by=VAL), dead + live) == [1, 2, 3]
    assert kept_by(KeepBest(3, by=VAL), dead + live) == [1, 2, 3]
    assert kept_by(KeepLast(2), [*live, record(6, superseded=True)]) == [4, 5]
    assert kept_by(KeepLast(4), [*dead, *live]) == [2, 3, 4, 5]  # the newest superseded one, because a place is free
    assert kept_by(KeepLast(1), dead) == [2]


def test_a_run_that_went_back_replaces_its_milestones():
    before = [record(1, step=10), record(2, step=20, superseded=True), record(3, step=30, superseded=True)]
    after = [record(4, step=21), record(5, step=25)]
    assert kept_by(KeepEvery(steps=10), before + after) == [1, 3, 4]


@pytest.mark.parametrize(
    ("of", "reasons"),
    [
        ([], {}),
        ([record(1), record(2)], {2: ("last", "newest resumable")}),
        ([record(1), record(2, status=Status.COMMITTED)], {1: ("newest resumable",), 2: ("last",)}),
        ([record(1), record(2, resumable=False, contents="weights")], {1: ("newest resumable",), 2: ("last",)}),
        ([record(1), record(2), record(3, superseded=True)], {2: ("last", "newest resumable")}),
        ([record(1, pinned=True), record(2)], {1: ("pinned",), 2: ("last", "newest resumable")}),
        ([record(1, final=True), record(2)], {1: ("final",), 2: ("last", "newest resumable")}),
        ([record(1, final=True), record(2, final=True), record(3)], {2: ("final",), 3: ("last", "newest resumable")}),
        ([record(1), record(2, exceptional=True)], {2: ("last", "newest resumable")}),
        ([record(1, status=Status.COMMITTED), record(2, status=Status.COMMITTED)], {2: ("last",)}),
    ],
)
def test_last_final_pinned_and_the_newest_resumable_never_go(of, reasons):
    assert plan(NOTHING_ELSE, of).reasons == reasons


def test_the_best_never_goes():
    of = records(0.5, 0.2, 0.4)
    assert kept(KeepLast(1), of) == [3]
    assert kept(KeepLast(1), of, best=VAL) == [2, 3]
    assert plan(KeepLast(1), of, best=VAL).reasons[2] == ("best",)
    assert kept(KeepLast(1) | KeepBest(1, by=VAL), of, best=Metric("val_loss", mode="max")) == [1, 2, 3]


def test_the_best_goes_by_the_first_keep_best():
    of = [record(1, metrics={"val_loss": 0.1, "acc": 0.1}), record(2, metrics={"val_loss": 0.5, "acc": 0.9}), record(3)]
    found = plan(KeepBest(1, by=ACC) | KeepBest(1, by=VAL), of).reasons
    assert found[2] == ("best 1 by acc (#1)", "best")
    assert found[1] == ("best 1 by val_loss (#1)",)


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_no_best_before_any_finite_value(odd, mode):
    metric = Metric("val_loss", mode=mode)
    assert plan(KeepBest(1, by=metric), records(odd, odd)).reasons == {2: ("last", "newest resumable")}


def test_what_was_saved_while_training_failed_is_never_best():
    of = [*records(0.5, 0.4), record(3, metrics={"val_loss": 0.1}, exceptional=True), record(4)]
    assert plan(KeepBest(1, by=VAL), of).reasons[2] == ("best 1 by val_loss (#1)", "best")
    assert kept(KeepBest(1, by=VAL), of) == [2, 4]


@pytest.mark.parametrize(
    ("find", "id"),
    [(last_record, 4), (final_record, 2), (newest_resumable, 3)],
    ids=["last", "final", "newest resumable"],
)
def test_the_targets_of_the_aliases(find, id):
    of = [
        record(4, status=Status.COMMITTED),
        record(1, final=True),
        record(2, final=True),
        record(3),
        record(5, final=True, superseded=True),
    ]
    assert find(of).id == id
    assert find([]) is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: KeepLast(0), "KeepLast: n is 0; expected a whole number of at least 1"),
        (lambda: KeepLast(-1), "n is -1"),
        (lambda: KeepLast(True), "n is True"),
        (lambda: KeepBest(0, by=VAL), "KeepBest: n is 0"),
        (lambda: KeepBest(2), "KeepBest: by: got None; expected a Metric"),
        (lambda: KeepBest(2, by="val_gap"), "KeepBest: by: 'val_gap' does not say whether less or more is better"),
        (lambda: KeepEvery(), "got none; expected exactly one of epochs, steps, hours"),
        (lambda: KeepEvery(epochs=1, steps=1), "expected exactly one"),
        (lambda: KeepEvery(steps=0), "steps is 0"),
        (lambda: KeepEvery(hours=-1), "hours is -1; expected a positive number"),
        (lambda: KeepWithin(hours=0), "KeepWithin: hours is 0"),
        (lambda: KeepWithin(hours=None), "KeepWithin: hours is None"),
        (lambda: KeepTagged(""), "KeepTagged: tag is ''; expected a name"),
        (lambda: AnyKeep(()), "keep is empty, which would delete every checkpoint"),
        (lambda: AnyKeep((KeepLast(1), None)), "expected retention rules"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_when_it_is_built(build, message):
    with pytest.raises(PolicyError, match=message):
        build()


@pytest.mark.parametrize("rule", [KeepAll(), KeepLast(1) | KeepTagged("a")], ids=readable)
def test_a_rule_has_no_truth_value(rule):
    with pytest.raises(PolicyError, match=r"combine rules with \|"):
        bool(rule)
    with pytest.raises(TypeError):
        rule | 3


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (KeepAll(), "KeepAll()"),
        (KeepEvery(hours=2.0), "KeepEvery(hours=2)"),
        (KeepLast(3) | KeepTagged("a"), "KeepLast(n=3) | KeepTagged(tag='a')"),
        (AnyKeep([KeepLast(3)]), "AnyKeep((KeepLast(n=3),))"),
    ],
    ids=readable,
)
def test_a_rule_reads_as_its_source(rule, text):
    assert repr(rule) == text


def test_grouping_does_not_matter():
    a, b, c = KeepLast(1), KeepTagged("a"), KeepBest(1, by=VAL)
    assert (a | b) | c == a | (b | c) == AnyKeep((a, AnyKeep((b, c))))
    assert hash((a | b) | c) == hash(a | (b | c))
    assert AnyKeep((a, AnyKeep((b, c)))).parts() == (a, b, c)
