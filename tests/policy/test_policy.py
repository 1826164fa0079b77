"""Policies as values."""

import copy
import pickle

import pytest

from ckpt_callbacks.errors import CkptError, PolicyError
from ckpt_callbacks.policy.composition import Trigger
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import KeepAll, KeepBest, KeepLast
from ckpt_callbacks.policy.smoothing import EMA
from ckpt_callbacks.policy.stopping import NonFinite, Patience
from ckpt_callbacks.policy.triggers import At, Every, Improves, OnDeadline, OnPreempt, Predicate
from tests.policy.scripts import ACC, VAL, never
from tests.support.ids import readable


@pytest.mark.parametrize(
    ("policy", "best"),
    [
        (Policy(save=never), None),
        (Policy(save=Every(epochs=1) & (Improves(ACC) | Improves(VAL))), ACC),
        (Policy(save=Improves(ACC), keep=KeepLast(1) | KeepBest(1, by=VAL)), VAL),
        (Policy(save=Improves(ACC), keep=KeepBest(1, by=VAL) | KeepBest(1, by=ACC)), VAL),
        (Policy(save=Improves(ACC), keep=KeepBest(1, by=ACC), best_by=VAL), VAL),
        (Policy(save=never, stop=Patience(VAL, checks=1)), None),
    ],
)
def test_which_metric_decides_best(policy, best):
    assert policy.best_metric == best


def test_which_metrics_a_policy_monitors():
    policy = Policy(
        save=Improves(Metric(["a", "b"], mode="min")) | Every(epochs=1),
        keep=KeepBest(1, by=Metric({"c": 1, "d": 1}, mode="min")),
        stop=Patience(Metric("e", mode="min"), checks=1) | NonFinite(["f", "g"]),
        best_by=Metric("h", mode="min"),
    )
    assert policy.monitored == {*"abcdefgh", "f_step", "g_step"}
    assert policy.non_finite_names == ("f", "g")
    assert Policy(save=never).monitored == set()


class AtNoon(Trigger):
    """A subclass of the user's own, of which nothing is known."""

    def describe(self):
        return "at noon"


@pytest.mark.parametrize(
    ("save", "follows"),
    [
        (Every(epochs=1) | Improves(VAL) | OnPreempt(), False),
        (Every(steps=1) & ~Every(minutes=1), True),
        (Every(seconds=1), True),
        (Every(hours=1), True),
        (OnPreempt() | OnDeadline(60), True),
        (OnPreempt() | Predicate(bool), True),
        (OnPreempt() | AtNoon(), True),
        (At(steps=[3]) | At(epochs=[2]), False),
    ],
    ids=readable,
)
def test_whether_a_policy_depends_on_the_clock(save, follows):
    assert Policy(save=save).may_differ_across_ranks is follows


@pytest.mark.parametrize(
    ("save", "wants"),
    [(Every(epochs=1), False), (OnPreempt(), True), (Every(epochs=1) | OnPreempt() & Every(steps=5), True)],
    ids=readable,
)
def test_whether_a_policy_wants_a_save_at_a_preemption(save, wants):
    assert Policy(save=save).saves_on_preempt is wants


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save": "every epoch"}, "Policy: save is 'every epoch'; expected a trigger"),
        ({"save": None}, "Policy: save is None"),
        ({"save": KeepAll()}, "Policy: save is KeepAll"),
        ({"save": never, "keep": None}, "Policy: keep is None; expected a retention rule"),
        ({"save": never, "keep": []}, r"Policy: keep is \[\]"),
        ({"save": never, "stop": VAL}, "Policy: stop is .*expected a stopping rule"),
        ({"save": never, "best_by": 3}, "Policy: best_by: got 3; expected a Metric"),
        ({"save": never, "best_by": "gap"}, "Policy: best_by: 'gap' does not say whether less or more is better"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_when_it_is_built(options, message):
    with pytest.raises(PolicyError, match=message) as caught:
        Policy(**options)
    assert isinstance(caught.value, CkptError)
    assert isinstance(caught.value, ValueError)


def test_policies_are_values():
    def build(n):
        val = Metric({"val_loss": 1, "err": 2}, mode="min", smoothing=EMA(0.3))
        return Policy(
            save=Every(epochs=1) | Improves(val), keep=KeepLast(n) | KeepBest(1, by=val), stop=NonFinite(["a", "b"])
        )

    assert build(1) == build(1) != build(2)
    assert {build(1): "one", build(2): "two"}[build(2)] == "two"
    used = build(1)
    assert used.tracks and used.monitored  # which it remembers
    assert copy.deepcopy(used) == pickle.loads(pickle.dumps(used)) == build(1)


def test_a_policy_reads_as_its_source_without_defaults():
    assert repr(Policy(save=Every(epochs=1) | OnPreempt(), keep=KeepLast(3), stop=NonFinite("loss"))) == (
        "Policy(save=Every(epochs=1) | OnPreempt(), keep=KeepLast(n=3), stop=NonFinite(monitor=('loss',)))"
    )
    val = Metric("val_loss")
    shown = repr(Policy(Every(epochs=1), KeepBest(1, val) | KeepBest(2, val), Patience(val, 5, 2), best_by=val))
    assert shown == (
        "Policy(save=Every(epochs=1), keep=KeepBest(by=VAL) | KeepBest(n=2, by=VAL), "
        "stop=Patience(metric=VAL, checks=5, start_from_epoch=2), best_by=VAL)"
    ).replace("VAL", "Metric('val_loss', mode='min')")
