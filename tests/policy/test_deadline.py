"""Saves before the end of the job. All expectations are worked out by hand."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks import hours, minutes, seconds
from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.policy.engine import deadline_is_due, decide, fold
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.state import IntervalState, State
from ckpt_callbacks.policy.triggers import Every, Improves, OnDeadline, OnException, OnPreempt
from tests.support.histories import all_triggers, histories, play, policies, thorough
from tests.support.ids import readable

OUTCOMES = (EventKind.SAVED, EventKind.DROPPED)
VAL = Metric("val_loss", mode="min")
TEN = OnDeadline(minutes(10))
OWN = OnDeadline(minutes(10), end=2000.0)
WHY = "10 minutes before the deadline"


def at(wall, deadline=2000.0, make=Event.step_end, **facts):
    """An event at a time of day; a step later than the one a second before."""
    return make(step=int(wall), wall=float(wall), deadline=deadline, **facts)


def start(wall, deadline=2000.0):
    return at(wall, deadline, Event.start)


def fires_at(trigger, events, saved=True, state=None):
    """When a save is asked for; each save ends before the next event."""
    policy, state, found = Policy(save=trigger), state or State(), []
    for event in events:
        state, decision = decide(policy, state, event)
        if decision.save:
            found.append(event.wall)
            done = Event.saved(decision.save.id) if saved else Event.dropped(decision.save.id, "disk full")
            state, _ = decide(policy, state, done)
        state = State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
    return found


# -- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "events", "walls"),
    [
        (TEN, [at(1000), at(1399), at(1400), at(1401), at(1999)], [1400]),
        (TEN, [at(1000), at(1700), at(1701)], [1700]),  # the first event after it
        (TEN, [at(1000), at(2500), at(2501)], [2500]),  # late is better than never
        (TEN, [at(1000, None), at(5000, None)], []),  # nobody knows when the job ends
        (TEN, [at(1500, None), at(1501)], [1501]),
        (OWN, [at(1399, None), at(1400, None), at(1401, None)], [1400]),
        (OWN, [at(1399, 1500), at(1400, 5000)], [1400]),  # the end that it was given wins
        (OnDeadline(seconds(1.5)), [at(1998), at(1999)], [1999]),
        # the job's end is moved: that is another deadline, whether the old one was near or not
        (TEN, [at(1000), at(1500, 3000), at(2400, 3000), at(2401, 3000)], [2400]),
        (TEN, [at(1400), at(1401, 3000), at(2400, 3000), at(2401, 3000)], [1400, 2400]),
        (TEN, [at(1400), at(1401, 1990), at(1402, 1990)], [1400, 1401]),
        # a clock that is set back, and one deadline that is not known for a while, make no second deadline
        (TEN, [at(1400), at(1398), at(1402)], [1400]),
        (TEN, [at(1400), at(1401, None), at(1402)], [1400]),
        # two of them are two
        (OnDeadline(600) | OnDeadline(60), [at(1400), at(1401), at(1940), at(1941)], [1400, 1940]),
        (OnDeadline(600) | OnDeadline(60), [at(1950), at(1951)], [1950]),  # and one save answers both
        # due until a save that it took part in
        (TEN & Every(steps=1500), [at(1400), at(1499), at(1500), at(1501)], [1500]),
        (TEN | OnPreempt(), [at(1300, make=Event.preempt), at(1400)], [1300, 1400]),
        (TEN | OnPreempt(), [at(1400, make=Event.preempt), at(1401)], [1400]),
        (~TEN & Every(steps=100), [at(1000), at(1400), at(1500)], [1000]),
        (TEN, [at(1400, make=Event.exception), at(1401)], [1401]),
        (TEN & OnException(), [at(1400), at(1401, make=Event.exception)], [1401]),
        (TEN, [at(1400, make=Event.epoch_end), at(1401)], [1400]),
    ],
    ids=readable,
)
def test_a_deadline_is_saved_for_once(trigger, events, walls):
    assert fires_at(trigger, events) == walls


@pytest.mark.parametrize(
    ("trigger", "why"),
    [
        (TEN, WHY),
        (OnDeadline("90 s"), "90 seconds before the deadline"),
        (OnDeadline(hours(1)), "1 hour before the deadline"),
        (OnDeadline(0.5), "0.5 seconds before the deadline"),
    ],
    ids=readable,
)
def test_a_save_says_why(trigger, why):
    _, decision = decide(Policy(save=trigger), State(), at(2000))
    assert decision.save.reasons == (why,)


# -- resumes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "walls"),
    [
        # started again in the same job: saved for it already, or not yet
        ([start(1000), at(1400), start(1450), at(1451)], [1400]),
        ([start(1000), at(1300), start(1350), at(1399), at(1400)], [1400]),
        # the next job of the run has a deadline of its own
        ([start(1000), at(1400), start(2100, 5000), at(2101, 5000), at(4400, 5000), at(4401, 5000)], [1400, 4400]),
        ([start(1000), at(1400), start(2100, None), at(9000, None)], [1400]),
        # which may be near when it starts
        ([start(1500), at(1501), at(1502)], [1501]),
        ([start(1000), at(1300), start(1500), at(1501), at(1502)], [1501]),
        ([start(1000), at(1400), start(2100, 2200), at(2101, 2200), at(2102, 2200)], [1400, 2101]),
    ],
)
def test_each_job_of_a_run_saves_for_its_own_deadline(events, walls):
    assert fires_at(TEN, events) == walls


def test_what_a_job_did_not_come_to_save_is_not_owed_to_the_next_one():
    policy = Policy(save=TEN)
    state, (_, decision) = fold(policy, [start(1000), at(1400)])
    state, _ = decide(policy, state, Event.dropped(decision.save.id, "interrupted"))
    assert fires_at(TEN, [start(2100, 5000), at(2101, 5000), at(4400, 5000), at(4401, 5000)], state=state) == [4400]
    assert fires_at(TEN, [start(2100, None), at(2101, None)], state=state) == []
    assert fires_at(TEN, [start(1500), at(1501), at(1502)], state=state) == [1501]  # but to the same job, started again


def test_a_rule_that_is_new_to_a_run_saves_for_the_deadline_that_is_near():
    state, _ = decide(Policy(save=Every(epochs=1)), State(), at(1500))
    assert fires_at(TEN, [at(1501), at(1502)], state=state) == [1501]
    assert fires_at(OWN, [start(1501, None), at(1502, None), at(1503, None)], state=state) == [1502]


def test_a_deadline_has_no_time_for_what_failed_before():
    policy, state, tries = Policy(save=Every(steps=1) | TEN), State(), []
    for wall in range(1000, 1420):
        state, decision = decide(policy, state, at(wall))
        if decision.save:
            tries.append(wall)
            state, _ = decide(policy, state, Event.dropped(decision.save.id, "disk full"))
    # 256 steps would lie between the last two tries before the deadline and the next one, at 1511
    assert tries == [1000, 1001, 1003, 1007, 1015, 1031, 1063, 1127, 1255, 1400, 1401, 1403, 1407, 1415]


# -- what must not wait ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "before", "event", "urgent"),
    [
        (TEN, [], at(1399), False),
        (TEN, [], at(1400), True),
        (TEN, [at(1300)], at(1400), True),
        (TEN, [at(1300)], at(1400, None), False),
        (OWN, [at(1300)], at(1400, None), True),
        (TEN & Every(steps=5000), [at(1400), at(1401)], at(1402), True),  # near, and not answered yet
        (TEN, [at(1400)], at(1401), False),  # its save is under way
        (TEN, [at(1400), "saved"], at(1401), False),
        (TEN, [at(1400), "dropped"], at(1401), True),
        (TEN, [at(1400), "dropped"], at(2100, 5000), False),
        (TEN, [at(1400), "saved"], at(4400, 5000), True),
        (TEN, [start(1500)], at(1501), True),
        (OnDeadline(600) | OnDeadline(60), [at(1400), "saved"], at(1940), True),
        (Every(steps=1) | Improves(VAL) | OnPreempt(), [], at(1999), False),
    ],
)
def test_whether_a_deadline_is_due(trigger, before, event, urgent):
    policy, state = Policy(save=trigger), State()
    for item in before:
        if item == "saved":
            item = Event.saved(state.saves)
        elif item == "dropped":
            item = Event.dropped(state.saves, "disk full")
        state, _ = decide(policy, state, item)
    assert deadline_is_due(policy, state, event) is urgent


@thorough
@given(policies(), histories)
def test_what_cannot_wait_is_what_deciding_finds_due(policy, history):
    state = State()
    for event in play(policy, history):
        urgent = deadline_is_due(policy, state, event)
        before = state
        state, decision = decide(policy, state, event)
        if event.kind in OUTCOMES:
            continue
        answered = {key for id_, asked in state.pending.items() if id_ not in before.pending for key in asked.triggers}
        near = [repr(leaf) for leaf in policy.deadlines if leaf.threshold_count(event) is not None]
        assert urgent is any(
            state.intervals[key].owed or (decision.save is not None and key in answered) for key in near
        )


@thorough
@given(all_triggers, st.integers(1, 100), histories)
def test_a_deadline_is_owed_exactly_when_no_save_since_it_came_near_worked(others, before, history):
    policy = Policy(save=OnDeadline(before) | others)
    (reason,) = decide(Policy(save=OnDeadline(before)), State(), at(10**9, 10**9))[1].save.reasons
    state, near, since, covered, asked = State(), None, -1, -1, {}
    events = play(policy, history)
    for i, event in enumerate(events):
        state, decision = decide(policy, state, event)
        if event.kind in OUTCOMES:
            when = asked.pop(event.save_id)
            covered = max(covered, when) if event.kind is EventKind.SAVED else covered
            continue
        inside = event.deadline is not None and event.wall >= event.deadline - before
        if inside and event.deadline != near:
            near, since = event.deadline, i
        if decision.save:
            took_part = reason in decision.save.reasons
            assert inside or not took_part
            asked[decision.save.id] = i if took_part else -1
    for save_id in asked:
        state, _ = decide(policy, state, Event.dropped(save_id, "interrupted"))
    last = Event.epoch_end(step=state.step, epoch=state.epoch, complete=False, wall=near or 0.0, deadline=near)
    _, decision = decide(policy, state, last)
    assert (decision.save is not None and reason in decision.save.reasons) is (near is not None and since > covered)


# -- values ----------------------------------------------------------------------------------------------------------

EVENING = 1795561200.0  # 2026-11-24, 23:00 UTC


@pytest.mark.parametrize(
    "end",
    [
        EVENING,
        int(EVENING),
        "2026-11-24T23:00:00Z",
        "2026-11-25T00:00:00+01:00",
        datetime(2026, 11, 25, 1, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=readable,
)
@pytest.mark.parametrize("before", [600, 600.0, minutes(10), "10 min", "600 s"])
def test_the_same_deadline_however_it_is_written_is_one_rule(before, end):
    trigger = OnDeadline(before, end)
    assert trigger == OnDeadline(before=600.0, end=EVENING)
    assert repr(trigger) == "OnDeadline(before=600, end=1795561200)"
    assert hash(trigger) == hash(OnDeadline(600, EVENING))
    assert (type(trigger.before), type(trigger.end)) == (float, float)


def test_a_deadline_reads_as_its_source():
    assert repr(OnDeadline(0.5) | OnDeadline(60, 1.5)) == "OnDeadline(before=0.5) | OnDeadline(before=60, end=1.5)"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: OnDeadline(0),
            r"^OnDeadline: before is 0; expected a duration above 0: seconds, or text such as 30 s",
        ),
        (lambda: OnDeadline(-1), "before is -1; expected a duration"),
        (lambda: OnDeadline(True), "before is True"),
        (lambda: OnDeadline(float("nan")), "before is nan"),
        (lambda: OnDeadline("soon"), "before is 'soon'"),
        (lambda: OnDeadline(None), "before is None"),
        (lambda: OnDeadline(60, 0), "^OnDeadline: end is 0; expected a moment: UTC seconds since 1970, or a date and"),
        (lambda: OnDeadline(60, float("inf")), "end is inf; expected a moment"),
        (lambda: OnDeadline(60, "tonight"), "end is 'tonight'; expected a moment"),
        (lambda: OnDeadline(60, "2026-11-24T23:00:00"), "end is '2026-11-24T23:00:00', which has no offset from UTC"),
        (lambda: OnDeadline(60, datetime(2026, 11, 24)), "end is '2026-11-24 00:00:00', which has no offset from UTC"),
    ],
)
def test_a_deadline_that_makes_no_sense_is_refused_when_it_is_built(build, message):
    with pytest.raises(PolicyError, match=message) as caught:
        build()
    assert len(str(caught.value).splitlines()) == 1


def test_the_state_remembers_which_deadline_it_was():
    state, _ = fold(Policy(save=TEN), [start(1000), at(1399)])
    assert state.intervals == {}
    state, _ = decide(Policy(save=TEN), state, at(1400))
    assert state.intervals == {"OnDeadline(before=600)": IntervalState(2000.0, False)}
    assert state.pending[1].triggers == ("OnDeadline(before=600)",)


def test_a_policy_knows_its_deadlines():
    policy = Policy(save=TEN | Every(epochs=1) & ~OWN | TEN)
    assert policy.deadlines == (TEN, OWN)
    assert policy.may_differ_across_ranks
    assert Policy(save=Every(epochs=1)).deadlines == ()
