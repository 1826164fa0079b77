"""Triggers: when they fire, and with which reason."""

import pytest

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.composition import AllOf, AnyOf, Not
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.retention import KeepEvery, KeepWithin
from ckpt_callbacks.policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from tests.policy.firing import ACC, VAL, firing_steps, is_flagged, reasons_at_each_event, step, validated
from tests.support.ids import readable


@pytest.mark.parametrize(
    ("trigger", "axis", "positions", "fires_at"),
    [
        (Every(steps=1), "step", [1, 2, 2, 3], [1, 2, 3]),
        (Every(steps=100), "step", [96, 104, 150, 199, 200, 350, 399, 400], [104, 200, 350, 400]),
        (Every(steps=10), "step", [35, 36, 40], [35, 40]),  # three crossings at once are one save
        (Every(epochs=1), "epoch", [1, 2, 3], [1, 2, 3]),
        (Every(epochs=2), "epoch", [1, 2, 3, 5, 6], [2, 5, 6]),
        (Every(seconds=30), "time", [10.0, 29.9, 30.0, 95.0, 100.0, 120.0], [30.0, 95.0, 120.0]),
        (Every(seconds=0.5), "time", [0.4, 0.5, 0.9, 1.1], [0.5, 1.1]),
        (Every(minutes=20), "time", [60.0, 1199.0, 1200.0, 2399.0, 3599.0, 3600.0], [1200.0, 3599.0, 3600.0]),
        (Every(hours=0.5), "time", [1799.0, 1800.0, 3599.0, 3600.0], [1800.0, 3600.0]),
        (At(steps=[100, 1000]), "step", [99, 101, 102, 999, 1500, 9000], [101, 1500]),
        (At(steps=[10, 20]), "step", [25, 26], [25]),
        (At(steps=[20, 10]), "step", [10, 15, 20], [10, 20]),
        (At(epochs=[1, 3]), "epoch", [1, 2, 3, 4], [1, 3]),
    ],
    ids=readable,
)
def test_an_interval_fires_when_a_multiple_is_crossed_not_only_when_it_is_hit(trigger, axis, positions, fires_at):
    events = [Event.step_end(**{axis: position}) for position in positions]
    reasons = reasons_at_each_event(trigger, events)
    assert [position for position, why in zip(positions, reasons, strict=True) if why] == fires_at


@pytest.mark.parametrize(
    ("trigger", "event", "reason"),
    [
        (Every(steps=1), Event.step_end(step=1), "every 1 step"),
        (Every(steps=1234567), Event.step_end(step=1234567), "every 1234567 steps"),
        (Every(epochs=1), Event.epoch_end(epoch=1), "every 1 epoch"),
        (Every(minutes=20.0), Event.step_end(time=1200.0), "every 20 minutes"),
        (Every(hours=0.25), Event.step_end(time=900.0), "every 0.25 hours"),
        (At(steps=[5, 10]), Event.step_end(step=5), "at steps 5, 10"),
        (At(epochs=[2]), Event.epoch_end(epoch=2), "at epochs 2"),
        (Improves(VAL), Event.epoch_end(epoch=1, metrics={"val_loss": 0.25}), "val_loss improved to 0.25"),
        (OnPreempt(), Event.preempt(), "preemption"),
        (OnException(), Event.exception(), "exception"),
        (is_flagged, step(1, flag=1), "flagged"),
        (~Every(steps=10), step(3), "not every 10 steps"),
        (Every(steps=2) & ~OnPreempt(), step(2), "every 2 steps and not preemption"),
        (Every(steps=2) & (is_flagged | OnPreempt()), step(2, flag=1), "every 2 steps and flagged"),
    ],
    ids=readable,
)
def test_a_save_says_why(trigger, event, reason):
    assert reasons_at_each_event(trigger, [event]) == [(reason,)]


def test_any_of_asks_every_part_and_gives_each_reason_once():
    trigger = Every(steps=2) | Every(steps=4) | is_flagged | (Every(steps=2) & is_flagged)
    assert reasons_at_each_event(trigger, [step(4, flag=1)]) == [
        ("every 2 steps", "every 4 steps", "flagged", "every 2 steps and flagged")
    ]
    assert reasons_at_each_event(Every(steps=2) | Every(steps=2), [step(2)]) == [("every 2 steps",)]


def test_equal_intervals_written_differently_are_one():
    trigger = Every(minutes=20) | (Every(minutes=20.0) & is_flagged) | (Every("20 min") & is_flagged)
    events = [Event.step_end(time=1200.0), Event.step_end(time=1201.0, metrics={"flag": 1})]
    assert reasons_at_each_event(trigger, events) == [("every 20 minutes",), ()]


@pytest.mark.parametrize(
    ("rule", "same"),
    [
        (Every("90 min"), Every(minutes=90)),
        (Every("2 d"), Every(hours=48)),
        (Every("0.5 s"), Every(seconds=0.5)),
        (KeepEvery("6 hours"), KeepEvery(hours=6)),
        (KeepWithin("2 d"), KeepWithin(hours=48.0)),
    ],
    ids=readable,
)
def test_a_duration_with_its_unit_is_an_interval(rule, same):
    assert rule == same and hash(rule) == hash(same) and repr(rule) == repr(same)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Every("epoch"),
            "^Every: epochs is 'epoch'; expected a duration in s, min, h or d, .* as in Every.epochs=1.$",
        ),
        (lambda: Every("1000 steps"), "as in Every.steps=1000.$"),
        (lambda: Every("20 minuts"), "such as '20 min', or one of epochs, steps, seconds, "),
        (lambda: Every("20 min", minutes=5), "got epochs='20 min', minutes=5; expected exactly one of"),
        (lambda: Every(minutes="20 min"), "minutes is '20 min'; expected a positive number, or Every.'20 min'.$"),
        (lambda: KeepEvery("2 epochs"), "^KeepEvery: epochs is '2 epochs'; .* as in KeepEvery.epochs=2.$"),
        (lambda: KeepWithin("week"), "^KeepWithin: hours is 'week'; .* '20 min', or hours, as in KeepWithin.hours=1.$"),
    ],
)
def test_a_text_that_is_no_duration_is_refused_with_what_was_meant(build, message):
    with pytest.raises(PolicyError, match=message):
        build()


@pytest.mark.parametrize(
    ("trigger", "events", "fires_at"),
    [
        # due at 10, but only flagged at 13; then due again at 20
        (Every(steps=10) & is_flagged, [step(9, flag=1), step(10), step(12), step(13, flag=1), step(14, flag=1),
                                        step(19), step(20), step(27, flag=1), step(28, flag=1)], [13, 27]),
        (At(steps=[5]) & is_flagged, [step(4, flag=1), step(6), step(9, flag=1), step(10, flag=1)], [9]),
        # the first step at which both are due: 10 (due since 3 and 10), then 20 (since 12 and 20)
        (Every(steps=3) & Every(steps=10), [step(n) for n in range(1, 22)], [10, 20]),
        # an `&` that lacks a part answers nothing: still due at 13
        (Every(steps=10) & is_flagged | OnPreempt(), [step(10), Event.preempt(step=11), step(13, flag=1)], [11, 13]),
        # a save for another reason answers what is due by itself
        (Every(steps=10) | is_flagged, [step(10, flag=1), step(11)], [10]),
        (Every(steps=10) | is_flagged, [step(9, flag=1), step(10)], [9, 10]),
        (Improves(VAL) & Every(steps=4), [validated(3, val_loss=0.5), step(4), validated(5, val_loss=0.9),
                                         validated(6, val_loss=0.1)],
         [5]),
    ],
    ids=readable,
)  # fmt: skip
def test_an_interval_stays_due_until_a_save_that_it_took_part_in(trigger, events, fires_at):
    assert firing_steps(trigger, events) == fires_at


@pytest.mark.parametrize(
    ("trigger", "events", "fires_at"),
    [
        (~Every(steps=3), [step(n) for n in range(1, 6)], [1, 2]),  # crossed at 3, and nothing ever answers it
        (~Every(steps=3) | Every(steps=3), [step(n) for n in range(1, 6)], [1, 2, 3, 4, 5]),
        ((Every(steps=3) & ~Every(steps=10)) | Every(steps=10), [step(n) for n in range(1, 14)], [3, 6, 9, 10, 12]),
        (~~Every(steps=2), [step(n) for n in range(1, 4)], [2, 3]),  # `~` takes no part in a save
        (is_flagged & ~OnPreempt(), [step(1, flag=1), Event.preempt(step=2, metrics={"flag": 1})], [1]),
        (~(is_flagged | Every(steps=2)), [step(1, flag=1), step(1), step(2)], [1]),
        (~(is_flagged & Every(steps=2)), [step(1, flag=1), step(2), step(3, flag=1)], [1, 2]),
    ],
    ids=readable,
)
def test_not_fires_while_its_part_is_not_due(trigger, events, fires_at):
    assert firing_steps(trigger, events) == fires_at


@pytest.mark.parametrize(
    ("metric", "curve", "fires"),
    [
        (VAL, [0.5, 0.6, 0.5, 0.4], [True, False, False, True]),
        (ACC, [0.5, 0.4, 0.5, 0.6], [True, False, False, True]),
        (VAL, [0.0, 0.0, -1.0], [True, False, True]),  # zero is a value
        (VAL, [None, 0.5, None, 0.4], [False, True, False, True]),  # missing is not zero
        (VAL, [float("nan"), 0.5, float("-inf"), 0.4], [False, True, False, True]),
        (Metric("val_loss", mode="min", min_delta=0.1), [1.0, 0.95, 0.89, 0.8], [True, False, True, False]),
        (Metric("val_loss", mode="min", baseline=0.3), [0.5, 0.3, 0.2], [False, False, True]),
        (Metric("val_loss", mode="min", start_from_epoch=2), [0.1, 0.2, 0.5, 0.4], [False, False, True, True]),
    ],
    ids=readable,
)
def test_improves_fires_when_the_fresh_value_beats_what_was_saved(metric, curve, fires):
    events = [
        Event.epoch_end(epoch=i + 1, complete=False, metrics={} if value is None else {metric.name: value})
        for i, value in enumerate(curve)
    ]
    assert [bool(why) for why in reasons_at_each_event(Improves(metric), events)] == fires


@pytest.mark.parametrize(
    ("trigger", "reasons"),
    [
        (Every(steps=1), ()),
        (Improves(VAL), ()),
        (Every(steps=1) | OnPreempt(), ()),
        (Predicate(lambda event: True, name="always"), ()),
        (~OnPreempt(), ()),
        (~OnException(), ()),
        (OnException() & Every(steps=50), ()),
        (OnException(), ("exception",)),
        (OnException() & Every(steps=5), ("exception and every 5 steps",)),
        (Every(steps=1) | Improves(VAL) | OnException(), ("every 1 step", "val_loss improved to 0.1", "exception")),
    ],
    ids=readable,
)
def test_an_exception_is_saved_only_through_on_exception(trigger, reasons):
    event = Event.exception(step=9, metrics={"val_loss": 0.1})
    assert reasons_at_each_event(trigger, [event]) == [reasons]


def test_an_interval_that_an_exception_did_not_save_is_still_due():
    assert firing_steps(Every(steps=5), [Event.exception(step=6), step(7)]) == [7]


@pytest.mark.parametrize(
    ("event", "fires"),
    [(Event.preempt(), True), (Event.step_end(), False), (Event.exception(), False), (Event.epoch_end(), False)],
    ids=readable,
)
def test_on_preempt_fires_at_a_preemption_alone(event, fires):
    assert bool(reasons_at_each_event(OnPreempt(), [event])[0]) is fires


def test_nothing_is_saved_when_training_starts():
    assert reasons_at_each_event(~OnPreempt() | Improves(VAL), [Event.start(metrics={"val_loss": 0.5})]) == [()]


@pytest.mark.parametrize(("kind", "reason"), [(Event.end, "end of training"), (Event.demand, "on demand")])
def test_the_end_of_training_and_a_demand_are_always_saved(kind, reason):
    assert reasons_at_each_event(Every(steps=100), [kind(step=5)]) == [(reason,)]
    assert reasons_at_each_event(Every(steps=4), [kind(step=5)]) == [("every 4 steps", reason)]


def test_a_predicate_sees_the_event():
    trigger = Predicate(lambda event: event.step == 7 and event.epoch == 1 and event.metrics["loss"] < 1)
    events = [Event.step_end(step=7, epoch=1, metrics={"loss": loss}) for loss in (2.0, 0.5)]
    assert [bool(why) for why in reasons_at_each_event(trigger, events)] == [False, True]


def test_a_predicate_is_called_by_the_name_of_its_function():
    def loss_is_low(event):
        return True

    assert reasons_at_each_event(Predicate(loss_is_low), [step(1)])[0][0].endswith("loss_is_low")
    assert reasons_at_each_event(Predicate(loss_is_low, name="low"), [step(1)]) == [("low",)]


@pytest.mark.parametrize(
    "use",
    [bool, lambda t: t or Every(epochs=1), lambda t: t and Every(epochs=1), lambda t: not t, lambda t: 1 if t else 0],
    ids=["bool", "or", "and", "not", "if"],
)
@pytest.mark.parametrize(
    "trigger",
    [Every(epochs=1), At(steps=[1]), OnDeadline(60), Improves(VAL), OnPreempt(), is_flagged, ~is_flagged,
     Every(epochs=1) | is_flagged],
    ids=lambda trigger: type(trigger).__name__,
)  # fmt: skip
def test_a_trigger_has_no_truth_value(trigger, use):
    with pytest.raises(PolicyError, match=r"combine triggers with \| and &"):
        use(trigger)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Every(), "got none; expected exactly one of epochs, steps, seconds, minutes, hours"),
        (lambda: Every(epochs=1, steps=2), "got epochs=1, steps=2; expected exactly one"),
        (lambda: Every(steps=0), "steps is 0; expected a whole number of at least 1"),
        (lambda: Every(steps=-5), "steps is -5"),
        (lambda: Every(steps=1.5), "steps is 1.5; expected a whole number"),
        (lambda: Every(epochs=True), "epochs is True"),
        (lambda: Every(minutes=0), "minutes is 0; expected a positive number"),
        (lambda: Every(hours=float("nan")), "hours is nan"),
        (lambda: Every(seconds=float("inf")), "seconds is inf"),
        (lambda: Every(minutes="20"), "minutes is '20'"),
        (lambda: Every(hours=10**400), "hours is 1000"),
        (lambda: At(), r"such as At\(steps=\[100, 1000\]\)"),
        (lambda: At(steps=[1], epochs=[1]), "expected a list of steps or a list of epochs"),
        (lambda: At(steps=[0]), r"steps is \[0\]; expected a list of whole numbers of at least 1"),
        (lambda: At(steps=100), "steps is 100; expected a list"),
        (lambda: At(epochs="12"), "epochs is '12'; expected a list"),
        (lambda: At(epochs=[1.5]), r"epochs is \[1.5\]"),
        (lambda: Improves("val_gap"), "Improves: 'val_gap' does not say whether less or more is better"),
        (lambda: Improves(Every(epochs=1)), r"Improves: got Every\(epochs=1\); expected a Metric"),
        (lambda: Predicate("val_loss < 1"), "expected a function"),
        (lambda: Predicate(bool, name=3), "Predicate: name is 3; expected a text"),
        (lambda: AnyOf(()), "expected one or more triggers"),
        (lambda: AllOf((Every(epochs=1), None)), "expected one or more triggers"),
        (lambda: Not(3), "Not: got 3"),
    ],
)
def test_a_trigger_that_makes_no_sense_is_refused_when_it_is_built(build, message):
    with pytest.raises(PolicyError, match=message):
        build()


@pytest.mark.parametrize("other", [None, 3, "every epoch"])
def test_a_trigger_combines_with_triggers_only(other):
    for combine in (lambda t: t | other, lambda t: t & other):
        with pytest.raises(TypeError):
            combine(Every(epochs=1))


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        (Every(minutes=20.0), "Every(minutes=20)"),
        (Every(hours=0.5), "Every(hours=0.5)"),
        (At(steps=[1, 2]), "At(steps=[1, 2])"),
        (Every(epochs=1) | OnPreempt() | OnException(), "Every(epochs=1) | OnPreempt() | OnException()"),
        (Every(epochs=1) | Every(steps=2) & ~OnPreempt(), "Every(epochs=1) | Every(steps=2) & ~OnPreempt()"),
        ((Every(epochs=1) | Every(steps=2)) & OnPreempt(), "(Every(epochs=1) | Every(steps=2)) & OnPreempt()"),
        (~(Every(epochs=1) | OnPreempt()), "~(Every(epochs=1) | OnPreempt())"),
        (~~OnPreempt(), "~~OnPreempt()"),
        (AnyOf((OnPreempt(),)), "AnyOf((OnPreempt(),))"),
        (AllOf([AnyOf([OnPreempt()]), OnException()]), "(AnyOf((OnPreempt(),))) & OnException()"),
    ],
    ids=readable,
)
def test_a_trigger_reads_as_its_source(trigger, text):
    assert repr(trigger) == text


def test_grouping_does_not_matter_among_triggers_of_one_operator():
    a, b, c = Every(epochs=1), OnPreempt(), OnException()
    assert (a | b) | c == a | (b | c) == AnyOf((a, AnyOf((b, c))))
    assert (a & b) & c == a & (b & c)
    assert a | (b & c) != (a | b) & c
    assert hash(a | (b | c)) == hash((a | b) | c)
