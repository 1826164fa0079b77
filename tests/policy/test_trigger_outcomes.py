"""Triggers after a dropped save, while a save is pending, and after a restart."""

import pytest

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.triggers import Every, Improves
from tests.policy.firing import VAL, firing_steps, outcome, reasons_at_each_event, step, validated


def test_a_dropped_interval_is_tried_again_ever_more_rarely():
    # tries 1, 2, 4, 8, 16, ... steps apart while they keep failing
    assert firing_steps(Every(steps=10), [step(n) for n in range(1, 73)], saved=False) == [10, 11, 13, 17, 25, 41]


def test_tries_are_at_most_1024_steps_apart():
    tries = firing_steps(Every(steps=1), [step(n) for n in range(1, 5001)], saved=False)
    assert tries == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3072, 4096]


@pytest.mark.parametrize("kind", [Event.epoch_end, Event.validation_end, Event.preempt, Event.demand, Event.end])
def test_only_step_events_wait_for_the_next_try(kind):
    events = [step(10), step(11), step(12), kind(step=12)]
    reasons = reasons_at_each_event(Every(steps=10), events, saved=False)
    assert [bool(why) for why in reasons] == [True, True, False, True]


def test_a_save_that_works_ends_the_waiting():
    policy, state, tries = Policy(save=Every(steps=10)), State(), []
    for n in range(1, 42):
        state, decision = decide(policy, state, step(n))
        if decision.save:
            tries.append(n)
            state, _ = decide(policy, state, outcome(decision.save, saved=len(tries) == 3))
    # 10 and 11 fail, 13 works; at 20 the waiting starts again, with one step
    assert tries == [10, 11, 13, 20, 21, 23, 27, 35]


def test_a_save_that_works_at_an_epoch_end_ends_the_waiting_of_step_events():
    policy, state, tries = Policy(save=Every(steps=1)), State(), []
    for event in [*map(step, range(1, 11)), Event.epoch_end(step=10, epoch=1), step(11)]:
        state, decision = decide(policy, state, event)
        if decision.save:
            tries.append(event.step)
            state, _ = decide(policy, state, outcome(decision.save, saved=event.epoch == 1))
    assert tries == [1, 2, 4, 8, 10, 11]  # without the one at 10, the next were at 16


def ask(policy, state, event):
    state, decision = decide(policy, state, event)
    assert decision.save is not None
    return state, decision.save


def test_a_save_under_way_is_not_asked_for_again():
    policy = Policy(save=Every(steps=10) | Improves(VAL))
    state, save = ask(policy, State(), validated(10, val_loss=0.5))
    for event in (step(11), validated(12, val_loss=0.5)):
        state, decision = decide(policy, state, event)
        assert decision.save is None
    state, _ = decide(policy, state, Event.dropped(save.id, "disk full"))
    state, again = ask(policy, state, validated(13, val_loss=0.6))
    assert again.reasons == ("every 10 steps", "val_loss improved to 0.6")


@pytest.mark.parametrize(
    ("outcomes", "still_owed"),
    [
        ("saved 1, saved 2", False),
        ("saved 1, dropped 2", True),
        ("dropped 1, saved 2", False),
        ("dropped 1, dropped 2", True),
        ("saved 2, saved 1", False),
        ("saved 2, dropped 1", False),
        ("dropped 2, saved 1", True),
        ("dropped 2, dropped 1", True),
    ],
)
def test_of_several_saves_under_way_the_newest_answers_an_interval(outcomes, still_owed):
    policy = Policy(save=Every(steps=10))
    state, _ = ask(policy, State(), step(10))
    state, _ = ask(policy, state, step(20))
    for text in outcomes.split(", "):
        what, save_id = text.split()
        event = Event.saved(int(save_id)) if what == "saved" else Event.dropped(int(save_id), "disk full")
        state, _ = decide(policy, state, event)
    _, decision = decide(policy, state, Event.epoch_end(step=20, epoch=1))
    assert (decision.save is not None) is still_owed


def test_the_outcome_of_an_unknown_save_changes_nothing():
    policy = Policy(save=Every(steps=10))
    state, _ = ask(policy, State(), step(10))
    assert decide(policy, state, Event.saved(99))[0] == state
    assert decide(policy, state, Event.dropped(99, "?"))[0] == state


@pytest.mark.parametrize(
    ("start", "events", "fires_at"),
    [
        (Event.start(step=5000), [step(5001), step(5099), step(5104)], [5104]),  # to begin further on crosses nothing
        (Event.start(step=0), [step(99), step(100)], [100]),
    ],
)
def test_a_run_counts_from_where_it_starts(start, events, fires_at):
    assert firing_steps(Every(steps=100), [start, *events]) == fires_at


@pytest.mark.parametrize("start", [[Event.start(step=50)], []], ids=["with a start", "without"])
def test_an_interval_that_is_new_to_a_run_counts_from_where_the_run_stood(start):
    state, _ = decide(Policy(save=Every(epochs=1)), State(), step(50))
    assert firing_steps(Every(steps=20), [*start, step(59), step(60)], state=state) == [60]


def test_a_run_that_goes_back_crosses_again():
    state, _ = decide(Policy(save=Every(steps=10)), State(), Event.start(step=35))
    assert firing_steps(Every(steps=10), [Event.start(step=12), step(19), step(21)], state=state) == [21]


def test_what_is_owed_is_owed_after_a_restart():
    policy = Policy(save=Every(steps=10))
    state, save = ask(policy, State(), step(10))
    state, _ = decide(policy, state, Event.dropped(save.id, "interrupted"))
    state, decision = decide(policy, state, Event.start(step=10))
    assert decision.save is None
    assert decide(policy, state, step(11))[1].save is not None
