"""When training stops. All expectations are worked out by hand."""

import pytest

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide, fold
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.retention import KeepBest
from ckpt_callbacks.policy.smoothing import EMA, Median
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.stopping import AnyStop, Diverges, NonFinite, Patience, Reaches
from ckpt_callbacks.policy.triggers import Improves
from tests.policy.stops import ACC, INF, NAN, VAL, epochs, stopping_epochs, stops, val
from tests.support.ids import readable


@pytest.mark.parametrize(
    ("rule", "curve", "stops_at"),
    [
        (Patience(VAL, checks=2), [0.5, 0.6, 0.6, 0.7], [3, 4]),
        (Patience(VAL, checks=1), [0.5, 0.4, 0.4, 0.3], [3]),
        (Patience(VAL, checks=2), [0.5, 0.6, 0.4, 0.6, 0.4], [5]),
        (Patience(VAL, checks=2), [0.5, None, None, 0.6, None, 0.6], [6]),  # measurements, not epochs
        (Patience(VAL, checks=2), [0.5, 0.6, 0.6, None], [3, 4]),  # it holds until something improves
        (Patience(VAL, checks=2), [NAN, NAN], [2]),  # not finite is stale
        (Patience(VAL, checks=2), [0.5, -INF, 0.4], []),  # an infinity is no best value
        (Patience(val(nan="skip"), checks=2), [0.5, NAN, NAN, NAN, 0.6, 0.6], [6]),
        (Patience(val(min_delta=0.25), checks=2), [1.0, 0.9, 0.8, 0.7], [3]),
        (Patience(val(baseline=0.5), checks=2), [0.7, 0.6, 0.4], [2]),
        (Patience(val(smoothing=Median(3)), checks=2), [0.9, 0.8, 0.1, 0.2, 0.7, 0.7], [6]),  # .9 .85 .8 .2 .2 .7
        (Patience(VAL, checks=2), [0.9, 0.8, 0.1, 0.2, 0.7, 0.7], [5, 6]),
        # warm-up: the first two epochs are not compared, however good
        (Patience(VAL, checks=2, start_from_epoch=2), [0.1, 0.1, 0.5, 0.4, 0.4], []),
        (Patience(VAL, checks=2, start_from_epoch=2), [0.1, 0.1, 0.5, 0.5, 0.5], [5]),
        (Patience(val(start_from_epoch=2), checks=2), [0.1, 0.1, 0.5, 0.5, 0.5], [5]),
        (Patience(val(start_from_epoch=2), checks=2, start_from_epoch=1), [0.1, 0.1, 0.5, 0.5, 0.5], [5]),
        (Reaches(VAL, 0.3), [0.5, 0.3, 0.4, 0.2], [2, 4]),
        (Reaches(VAL, 0.3), [NAN, -INF, None], []),
        (Reaches(VAL, 0.3), [0.2, None, NAN], [1, 2]),
        (Reaches(val(nan="skip"), 0.3), [0.2, NAN, 0.5], [1, 2]),
        (Reaches(val(start_from_epoch=2), 0.3), [0.1, 0.1, 0.2], [3]),
        (Reaches(val(smoothing=EMA(0.5)), 0.3), [0.5, 0.1, 0.3], [2, 3]),
        (Diverges(VAL, 2.0), [1.0, 2.0, 2.5, 1.0, 1e308], [3, 5]),
        (Diverges(VAL, 2.0), [NAN, INF], []),  # that is for NonFinite to say
        (Diverges(val(start_from_epoch=1), 2.0), [9.0, 1.0, 9.0], [3]),
        (NonFinite("val_loss"), [0.5, NAN, 0.5, INF, -INF], [2, 4, 5]),
        (NonFinite("val_loss", consecutive=2), [NAN, 0.5, NAN, INF, NAN, 0.5], [4, 5]),
        (NonFinite("val_loss", consecutive=2), [NAN, None, NAN, None, 0.5], [3, 4]),
        (NonFinite("loss"), [NAN, NAN], []),
    ],
    ids=readable,
)
def test_when_a_rule_stops(rule, curve, stops_at):
    assert stopping_epochs(rule, curve) == stops_at


@pytest.mark.parametrize(
    ("rule", "curve", "stops_at"),
    [
        (Patience(ACC, checks=2), [0.5, 0.4, 0.5, 0.6], [3]),
        (Reaches(ACC, 0.9), [0.8, 0.9, 0.95], [2, 3]),
        (Diverges(ACC, 0.1), [0.2, 0.1, 0.05], [3]),
    ],
    ids=readable,
)
def test_more_is_better_when_the_metric_says_so(rule, curve, stops_at):
    assert stopping_epochs(rule, curve, "acc") == stops_at


@pytest.mark.parametrize(
    ("rule", "curve", "reason"),
    [
        (Patience(VAL, checks=2), [0.5, 0.6, 0.6], "val_loss did not improve in 2 checks (best 0.5)"),
        (Patience(VAL, checks=2), [NAN, NAN], "val_loss did not improve in 2 checks (no finite value so far)"),
        (
            Patience(val(min_delta=0.25), checks=2),
            [1.0, 0.9, 0.8],
            "val_loss did not improve by more than min_delta 0.25 in 2 checks (from 1 only to 0.8)",
        ),
        (
            Patience(val(min_delta=0.25, min_delta_mode="rel"), checks=1),
            [1.0, 0.8],
            "val_loss did not improve by more than min_delta 0.25 (rel) in 1 check (from 1 only to 0.8)",
        ),
        (Patience(val(min_delta=0.25), checks=1), [1.0, 1.1], "val_loss did not improve in 1 check (best 1)"),
        (
            Patience(val(baseline=0.5), checks=2),
            [0.7, 0.6],
            "val_loss did not improve on the baseline 0.5 in 2 checks (best 0.6)",
        ),
        (
            Patience(val(smoothing=Median(3)), checks=1),
            [1.0, 1.5],
            "median(3) of val_loss did not improve in 1 check (best 1)",
        ),
        (Reaches(VAL, 0.5), [0.25], "val_loss reached 0.25 (goal 0.5)"),
        (Diverges(VAL, 10), [12.5], "val_loss diverged to 12.5 (limit 10)"),
        (NonFinite("val_loss"), [NAN], "val_loss was not finite"),
        (NonFinite("val_loss", consecutive=2), [NAN, INF], "val_loss was not finite 2 times in a row"),
    ],
    ids=readable,
)
def test_a_stop_says_why(rule, curve, reason):
    assert stops(rule, epochs(curve))[-1] == (reason,)


def test_non_finite_counts_each_name_by_itself():
    rule = NonFinite(["train_loss", "loss"], consecutive=2)
    events = [
        Event.step_end(step=1, metrics={"train_loss": NAN, "loss": 1.0}),
        Event.step_end(step=2, metrics={"loss": NAN}),
        Event.step_end(step=3, metrics={"train_loss": NAN}),
        Event.step_end(step=4, metrics={"loss": NAN}),
    ]
    assert stops(rule, events) == [
        (),
        (),
        ("train_loss was not finite 2 times in a row",),
        ("train_loss was not finite 2 times in a row", "loss was not finite 2 times in a row"),
    ]


def test_rules_of_one_name_share_its_count_but_not_their_limit():
    three, two = NonFinite("loss", consecutive=3), NonFinite("loss", consecutive=2)
    events = [Event.step_end(step=n, metrics={"loss": NAN}) for n in (1, 2, 3)]
    twice, thrice = (f"loss was not finite {n} times in a row" for n in (2, 3))
    assert stops(three, events) == [(), (), (thrice,)]
    assert stops(three | two, events) == [(), (twice,), (thrice,)]


def test_any_rule_stops_and_all_reasons_are_given():
    rule = Patience(VAL, checks=1) | Reaches(VAL, 0.5) | NonFinite("val_loss")
    assert stops(rule, epochs([0.5, 0.6, NAN])) == [
        ("val_loss reached 0.5 (goal 0.5)",),
        ("val_loss did not improve in 1 check (best 0.5)",),
        ("val_loss did not improve in 2 checks (best 0.5)", "val_loss was not finite"),
    ]


@pytest.mark.parametrize("event", [Event.end(step=30, epoch=3), Event.exception(step=30, epoch=3)])
def test_nothing_is_stopped_that_has_ended(event):
    assert stops(Patience(VAL, checks=1), [*epochs([0.5, 0.6]), event])[-1] == ()


def test_rules_that_say_the_same_say_it_once():
    rule = Patience(VAL, checks=1) | Patience(VAL, checks=1) | NonFinite("val_loss") | NonFinite("val_loss")
    reason = "val_loss did not improve in 1 check (no finite value so far)"
    assert stops(rule, epochs([NAN])) == [(reason, "val_loss was not finite")]


def test_patience_does_not_depend_on_saves():
    """The stale count follows the metric: whether its best was ever saved does not matter."""
    policy = Policy(save=Improves(VAL), stop=Patience(VAL, checks=2))
    state, stopped = State(), []
    for event in epochs([0.5, 0.4, 0.45, 0.45]):
        state, decision = decide(policy, state, event)
        stopped.append(decision.stop is not None)
        if decision.save:
            state, _ = decide(policy, state, Event.dropped(decision.save.id, "disk full"))
    assert stopped == [False, False, False, True]


def test_a_warm_up_of_patience_alone_leaves_other_rules_with_every_measurement():
    policy = Policy(save=Improves(VAL), keep=KeepBest(1, by=VAL), stop=Patience(VAL, checks=2, start_from_epoch=2))
    _, decisions = fold(policy, epochs([0.1, 0.2, 0.5, 0.5, 0.5]))
    assert [decision.save is not None for decision in decisions] == [True, False, False, False, False]
    assert [decision.stop is not None for decision in decisions] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Patience("val_gap", 3), "Patience: 'val_gap' does not say whether less or more is better"),
        (lambda: Patience(VAL, 0), "Patience: checks is 0; expected a whole number of at least 1"),
        (lambda: Patience(VAL, 2.5), "Patience: checks is 2.5"),
        (lambda: Patience(VAL, 2, start_from_epoch=-1), "start_from_epoch is -1"),
        (lambda: Reaches(0.9, 1), "Reaches: got 0.9; expected a Metric"),
        (lambda: Reaches(ACC, NAN), "Reaches: value is nan; expected a finite number"),
        (lambda: Diverges(ACC, 10**400), "Diverges: value is 10+; expected a finite number"),
        (lambda: Diverges(VAL, None), "Diverges: value is None"),
        (lambda: Diverges(VAL, True), "Diverges: value is True"),
        (lambda: NonFinite([]), "NonFinite: monitor is"),
        (lambda: NonFinite(""), "NonFinite: monitor is"),
        (lambda: NonFinite(5), "NonFinite: monitor is 5"),
        (lambda: NonFinite(["loss", 5]), "NonFinite: monitor is"),
        (lambda: NonFinite("loss", consecutive=0), "consecutive is 0"),
        (lambda: AnyStop(()), "expected one or more stopping rules"),
        (lambda: AnyStop((NonFinite("loss"), 3)), "expected one or more stopping rules"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_when_it_is_built(build, message):
    with pytest.raises(PolicyError, match=message):
        build()


@pytest.mark.parametrize(
    "rule", [Patience(VAL, 1), NonFinite("loss"), Reaches(VAL, 1) | Diverges(VAL, 2)], ids=readable
)
def test_a_rule_has_no_truth_value(rule):
    with pytest.raises(PolicyError, match=r"combine rules with \|"):
        bool(rule)
    with pytest.raises(TypeError):
        rule | None


def test_grouping_does_not_matter():
    a, b, c = Patience(VAL, 1), NonFinite("loss"), Reaches(VAL, 0.1)
    assert (a | b) | c == a | (b | c) == AnyStop([a, AnyStop([b, c])])
    assert hash((a | b) | c) == hash(a | (b | c))
    assert NonFinite(["a", "b"]) == NonFinite(("a", "b")) != NonFinite(["b", "a"])
    assert NonFinite("a") == NonFinite(["a"])


def test_non_finite_sees_a_batch_of_a_metric_that_is_logged_by_epoch():
    events = [
        Event.step_end(step=1, metrics={"loss_step": NAN}),
        Event.step_end(step=2, metrics={"loss_step": 1.0}),
        Event.epoch_end(step=3, epoch=1, metrics={"loss": 1.0, "loss_step": NAN}),
    ]
    assert [bool(reasons) for reasons in stops(NonFinite("loss"), events)] == [True, False, False]
