"""The ranking of records by a metric."""

import pytest

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.ranking import best_record
from ckpt_callbacks.policy.smoothing import EMA
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.triggers import Every
from ckpt_callbacks.record import Record
from tests.policy.measuring import ACC, INF, NAN, VAL, val
from tests.support.ids import readable

EMA_VAL = val(smoothing=EMA(0.3))


def record(id=1, **facts):
    return Record(id, f"{id}.ckpt", **facts)


@pytest.mark.parametrize(
    ("metric", "facts", "score"),
    [
        (VAL, {"metrics": {"val_loss": 0.5}}, 0.5),
        (VAL, {"metrics": {"val_loss": 0.0}}, 0.0),
        (VAL, {"metrics": {"loss": 0.5}}, None),
        (VAL, {"metrics": {"val_loss": NAN}}, None),
        (VAL, {"metrics": {"val_loss": -INF}}, None),
        (VAL, {"metrics": {"val_loss": 0.5}, "scores": {"ema(0.3) of val_loss": 0.7}}, 0.5),
        (EMA_VAL, {"metrics": {"val_loss": 0.5}, "scores": {"ema(0.3) of val_loss": 0.7}}, 0.7),
        (EMA_VAL, {"metrics": {"val_loss": 0.5}, "scores": {"mean(3) of val_loss": 0.7}}, None),
        (EMA_VAL, {"metrics": {"val_loss": 0.5}}, None),
        (EMA_VAL, {"scores": {"ema(0.3) of val_loss": NAN}}, None),
        (Metric({"a": 1, "b": 2}, mode="min"), {"metrics": {"a": 1.0, "b": 1.5}}, 4.0),
        (Metric({"a": 1, "b": 2}, mode="min"), {"metrics": {"a": 1.0}}, None),
        # the warm-up is not compared, so it does not rank either
        (val(start_from_epoch=3), {"epoch": 2, "metrics": {"val_loss": 0.5}}, None),
        (val(start_from_epoch=3), {"epoch": 4, "metrics": {"val_loss": 0.5}}, 0.5),
        (val(start_from_epoch=3), {"epoch": 3, "metrics": {"val_loss": 0.5}}, None),  # the end of the third epoch
        (val(start_from_epoch=3), {"epoch": 3, "metrics": {"val_loss": 0.5}, "scores": {"val_loss": 0.5}}, 0.5),
        (val(start_from_epoch=3, smoothing=EMA(0.3)), {"epoch": 2, "scores": {"ema(0.3) of val_loss": 0.7}}, None),
    ],
)
def test_what_ranks_a_record(metric, facts, score):
    assert metric.score(record(**facts)) == score


@pytest.mark.parametrize(
    ("event", "ranks"),
    [
        (Event.epoch_end(step=30, epoch=3, metrics={"val_loss": 0.5}), False),  # the last epoch of the warm-up
        (Event.validation_end(step=35, epoch=3, metrics={"val_loss": 0.5}), True),  # in mid-epoch, one later
        (Event.epoch_end(step=40, epoch=4, metrics={"val_loss": 0.5}), True),
    ],
)
@pytest.mark.parametrize("smoothing", [None, EMA(0.3)], ids=readable)
def test_a_record_ranks_exactly_when_its_event_was_compared(event, ranks, smoothing):
    metric = val(start_from_epoch=3, smoothing=smoothing)
    _, decision = decide(Policy(save=Every(steps=1), best_by=metric), State(), event)
    saved = record(step=event.step, epoch=event.epoch, metrics=event.metrics, scores=decision.save.scores)
    assert metric.score(saved) == (0.5 if ranks else None)


@pytest.mark.parametrize(
    ("metric", "records", "best"),
    [
        (VAL, [], None),
        (None, [record(1, metrics={"val_loss": 0.5})], None),
        (VAL, [record(1, metrics={"val_loss": 0.5}), record(2, metrics={"val_loss": 0.4})], 2),
        (ACC, [record(1, metrics={"acc": 0.5}), record(2, metrics={"acc": 0.4})], 1),
        (VAL, [record(2, metrics={"val_loss": 0.5}), record(1, metrics={"val_loss": 0.5})], 1),  # the older of equals
        (VAL, [record(1, metrics={"val_loss": NAN}), record(2, metrics={"val_loss": 9.0})], 2),
        (VAL, [record(1, metrics={"val_loss": -INF}), record(2, metrics={"val_loss": 9.0})], 2),
        (ACC, [record(1, metrics={"acc": NAN}), record(2, metrics={"acc": INF}), record(3)], None),
        (VAL, [record(1, metrics={"val_loss": 0.1}, exceptional=True), record(2, metrics={"val_loss": 0.5})], 2),
        (VAL, [record(1, metrics={"val_loss": 0.1}, superseded=True), record(2, metrics={"val_loss": 0.5})], 2),
    ],
)
def test_the_best_record(metric, records, best):
    found = best_record(records, metric)
    assert (found and found.id) == best
