"""Plans: unions of rules, and the reason of each kept record."""

import pytest

from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.retention import (
    KeepAll,
    KeepBest,
    KeepEvery,
    KeepLast,
    KeepTagged,
    KeepWithin,
)
from ckpt_callbacks.record import Status
from tests.policy.kept import HOUR, VAL, record, records
from tests.support.ids import readable


def test_a_union_keeps_what_each_part_keeps_and_gives_all_reasons():
    of = [
        record(1, epoch=1, metrics={"val_loss": 0.5}),
        record(2, epoch=2, metrics={"val_loss": 0.1}),
        record(3, epoch=3, metrics={"val_loss": 0.4}, tags=("release",)),
        record(4, epoch=4, metrics={"val_loss": 0.6}),
        record(5, epoch=5, metrics={"val_loss": 0.7}, status=Status.COMMITTED),
        record(6, epoch=6, metrics={"val_loss": 0.2}, superseded=True),
    ]
    rule = KeepLast(2) | KeepBest(2, by=VAL) | KeepEvery(epochs=2) | KeepTagged("release")
    found = plan(rule, of)
    assert found.reasons == {
        2: ("best 2 by val_loss (#1)", "every 2 epochs", "best"),
        3: ("tagged release",),
        4: ("last 2", "every 2 epochs", "newest resumable"),
        5: ("last 2", "last"),
        6: ("best 2 by val_loss (#2)", "every 2 epochs"),
    }
    assert [r.id for r in found.keep] == [2, 3, 4, 5, 6]
    assert [r.id for r in found.remove] == [1]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (KeepAll(), "all"),
        (KeepLast(3), "last 3"),
        (KeepBest(2, by=VAL), "best 2 by val_loss (#2)"),
        (KeepEvery(epochs=1), "every 1 epoch"),
        (KeepEvery(hours=0.5), "every 0.5 hours"),
        (KeepEvery(steps=1), "every 1 step"),
        (KeepWithin(hours=24.0), "within 24 h"),
        (KeepTagged("a"), "tagged a"),
    ],
    ids=readable,
)
def test_each_kept_record_carries_its_reason(rule, reason):
    of = [
        record(1, time=HOUR, tags=("a",), metrics={"val_loss": 0.5}),
        record(2, time=2 * HOUR, metrics={"val_loss": 0.1}),
        record(3, time=3 * HOUR),
    ]
    assert reason in plan(rule, of).reasons[1]


def test_the_best_of_the_current_branch_is_named():
    of = [record(1, metrics={"val_loss": 0.1}, superseded=True), *records(0.1, 0.3, 0.5)[1:]]
    assert plan(KeepBest(1, by=VAL), of).reasons == {
        1: ("best 1 by val_loss (#1)",),
        2: ("best by val_loss", "best"),
        3: ("last", "newest resumable"),
    }
