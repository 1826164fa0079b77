"""Intervals that follow from what saves cost. Expectations are worked out by hand, or by a clock that saves block."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.costs import Costs
from ckpt_callbacks.policy.engine import decide, fold
from ckpt_callbacks.policy.pace import Optimal
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.triggers import Every, OnPreempt, Predicate
from ckpt_callbacks.units import hours
from tests.support.histories import thorough, usual
from tests.support.ids import readable

BUSY = Every(overhead=0.01)
flagged = Predicate(lambda event: event.metrics.get("flag") == 1, name="flagged")
costs = st.floats(0, 5) | st.sampled_from([0.0, 1e-9, 60.0])


def train(trigger, until, *, step_seconds=1.0, cost=0.5, fails=(), state=None):
    """Train on a clock that each save blocks; saves end before the next step. Returns the state and the asks.

    An ask is (training time, reasons). The saves whose numbers are in ``fails`` are dropped.
    """
    policy, state, asks = Policy(save=trigger), state or State(), []
    time, step = state.time, state.step
    while time < until:
        step, time = step + 1, time + step_seconds
        state, decision = decide(policy, state, Event.step_end(step=step, time=time))
        if decision.save:
            asks.append((time, decision.save.reasons))
            id_, blocked = decision.save.id, cost
            outcome = Event.dropped(id_, "full") if len(asks) in fails else Event.saved(id_, blocked=blocked)
            time += 0 if len(asks) in fails else blocked
            state, _ = decide(policy, state, outcome)
    return state, asks


# -- what saves cost -------------------------------------------------------------------------------------------------


def test_costs_are_counted_over_all_saves():
    policy = Policy(save=Every(steps=1))
    state, _ = decide(policy, State(), Event.step_end(step=1, time=10.0))
    state, _ = decide(policy, state, Event.saved(1, blocked=2.0))
    assert state.costs == Costs(blocked=2.0, recent=(2.0,), asked=10.0)
    state, _ = decide(policy, state, Event.step_end(step=2, time=20.0))
    state, _ = decide(policy, state, Event.dropped(2, "full", blocked=7.0))
    assert state.costs == Costs(blocked=9.0, recent=(2.0,), asked=10.0)
    state, _ = decide(policy, state, Event.step_end(step=3, time=30.0))
    state, _ = decide(policy, state, Event.saved(3))  # an outcome from before costs were measured
    assert state.costs == Costs(blocked=9.0, recent=(2.0,), asked=30.0)


def test_of_two_saves_under_way_the_newest_one_that_works_counts_as_the_last():
    policy = Policy(save=Every(steps=1))
    state, _ = fold(policy, [Event.step_end(step=n, time=n * 10.0) for n in (1, 2)])
    state, _ = fold(policy, [Event.saved(2, blocked=1.0), Event.saved(1, blocked=3.0)], state)
    assert (state.costs.asked, state.costs.blocked, state.costs.recent) == (20.0, 4.0, (1.0, 3.0))


@pytest.mark.parametrize(
    ("recent", "expected"),
    [((), None), ((3.0,), 3.0), ((3.0, 1.0), 3.0), ((9.0, 1.0, 2.0), 2.0), ((4.0, 1.0, 2.0, 3.0), 3.0)],
)
def test_the_next_save_is_expected_to_cost_the_median_of_the_recent_ones(recent, expected):
    assert Costs(recent=recent).expected == expected


def test_only_the_last_five_saves_say_what_one_costs():
    found = Costs()
    for n in range(8):
        found = found.with_saved(float(n), float(n))
    assert (found.recent, found.expected, found.blocked) == ((3.0, 4.0, 5.0, 6.0, 7.0), 5.0, 28.0)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_seconds_that_are_none_are_refused(value):
    for tell in (
        lambda: Event.saved(1, blocked=value),
        lambda: Event.dropped(1, "full", blocked=value),
    ):
        with pytest.raises(PolicyError, match="expected seconds of at least 0, or None"):
            tell()


def test_a_state_from_before_costs_were_counted_still_loads():
    state, _ = decide(Policy(save=Every(steps=1)), State(), Event.step_end(step=1, time=10.0))
    facts = json.loads(json.dumps(state.to_json()))
    del facts["costs"], facts["pending"]["1"]["time"]
    assert State.from_json(facts) == state  # the save under way was asked for at the time of the state


# -- a share of the time ---------------------------------------------------------------------------------------------


def test_overhead_saves_as_often_as_its_share_allows():
    state, asks = train(BUSY, until=301)
    # 0.5 s are 1 % of 50 s; the first save comes ahead of its time, so the second waits until both are paid
    assert [time for time, _ in asks] == [1.0, 100.5, 151.0, 201.5, 252.0]
    assert asks[0][1] == ("overhead 1%: at once, because no save was measured yet",)
    assert {reasons for _, reasons in asks[1:]} == {("overhead 1%: every 50 s, because a save blocks 0.5 s",)}
    assert state.costs.blocked == 2.5


def test_what_other_rules_save_counts_in():
    _, asks = train(BUSY | Every(steps=40), until=1000)  # which alone takes more than 1 %
    assert [reasons for _, reasons in asks[1:]] == [("every 40 steps",)] * 24


def test_a_share_that_was_not_spent_is_not_spent_all_at_once():
    """A run of 10 hours that never saved, and then saves by overhead: the first save, then one each 50 s."""
    _, asks = train(BUSY, until=36200, state=State(step=1, time=36000.0))
    assert [time for time, _ in asks] == [36001.0, 36051.5, 36102.0, 36152.5]


def test_while_a_save_is_under_way_none_is_due():
    policy = Policy(save=BUSY | Optimal(hours(6)))
    state, decision = decide(policy, State(), Event.step_end(step=1, time=1.0))
    for n in range(2, 99):
        state, later = decide(policy, state, Event.step_end(step=n, time=n * 1000.0))
        assert later.save is None
    state, _ = decide(policy, state, Event.saved(decision.save.id, blocked=0.5))
    assert decide(policy, state, Event.step_end(step=99, time=99000.0))[1].save is not None


@pytest.mark.parametrize("trigger", [BUSY, Optimal(hours(6))], ids=readable)
def test_a_dropped_save_stays_due_with_growing_pauses(trigger):
    _, asks = train(trigger, until=30, fails=range(1, 6))
    assert [time for time, _ in asks] == [1, 2, 4, 8, 16]
    _, asks = train(trigger, until=400, fails=(2,))
    first_try = asks[1][0]
    assert asks[2][0] == first_try + 1


def test_the_time_that_failed_saves_block_is_part_of_the_share():
    policy = Policy(save=BUSY)
    state, _ = decide(policy, State(), Event.step_end(step=1, time=1.0))
    state, _ = decide(policy, state, Event.dropped(1, "full", blocked=2.0))
    for time, due in ((199.0, False), (200.0, True)):
        assert (decide(policy, state, Event.step_end(step=9, time=time))[1].save is not None) is due


@thorough
@given(
    st.floats(0.001, 0.5),
    st.lists(st.tuples(st.floats(0.01, 40), costs, st.booleans()), min_size=1, max_size=60),
    st.booleans(),
)
def test_the_share_is_never_exceeded_by_more_than_one_save(share, moves, backgrounded):
    """Steps of any length, saves of any cost, failed ones and ones that end a step later among them."""
    policy, state = Policy(save=Every(overhead=share)), State()
    time, blocked, largest, under_way = 0.0, 0.0, 0.0, None
    for step, (seconds, cost, works) in enumerate(moves, start=1):
        time += seconds
        state, decision = decide(policy, state, Event.step_end(step=step, time=time))
        if under_way is not None:
            assert decision.save is None
            state, _ = decide(policy, state, under_way)
            under_way = None
        if decision.save:
            time, blocked, largest = time + cost, blocked + cost, max(largest, cost)
            id_ = decision.save.id
            outcome = Event.saved(id_, blocked=cost) if works else Event.dropped(id_, "full", blocked=cost)
            if backgrounded:
                under_way = outcome
            else:
                state, _ = decide(policy, state, outcome)
        assert blocked <= share * time * (1 + 1e-9) + largest


@usual
@given(st.floats(0.005, 0.5), st.floats(0.001, 2), st.floats(0.1, 1))
def test_the_share_is_used_up(share, cost, part):
    """Where steps are short beside the interval, the saves that the share allows do happen."""
    interval, step_seconds = cost / share, part * cost / share
    until = 10 * (interval + step_seconds + cost)  # a save may be due within a step, or while the last one blocks
    state, asks = train(Every(overhead=share), until, step_seconds=step_seconds, cost=cost)
    assert len(asks) >= 9
    assert state.costs.blocked == pytest.approx(cost * len(asks))


# -- Young and Daly --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "mtbf", "interval"),
    [
        (2.0, 10000.0, 200 * (1 + 0.01 / 3 + 0.0001 / 9)),  # δ/2M is 1/10000
        (0.5, 100.0, 10 * (1 + 0.05 / 3 + 0.0025 / 9)),
        (0.0, 100.0, 0.0),
        (200.0, 100.0, 300.0),  # as long as two failures are apart: M of work, and the save
        (500.0, 100.0, 600.0),
    ],
)
def test_optimal_takes_dalys_interval(cost, mtbf, interval):
    assert Optimal(mtbf).pace.interval(cost) == pytest.approx(interval)


def lost_share(interval, cost, mtbf):
    """Daly's complete model: how much longer a run takes, where failures are exponential and a restart is free."""
    return mtbf * math.expm1(interval / mtbf) / (interval - cost) - 1


@usual
@given(st.floats(0.001, 300), st.floats(600, 1e6), st.floats(0.3, 3))
def test_no_other_interval_loses_much_less(cost, mtbf, factor):
    """Against the model that the formula approximates: 1 % of the loss is what the approximation may cost."""
    interval = Optimal(mtbf).pace.interval(cost)
    other = cost + factor * (interval - cost)
    assert lost_share(interval, cost, mtbf) <= 1.01 * lost_share(other, cost, mtbf)


def test_optimal_counts_from_the_last_save_that_any_rule_asked_for():
    rule = Optimal(mtbf="10000 s")
    every = rule.pace.interval(2.0)  # 200.67 s
    _, asks = train(rule, until=700, cost=2.0)
    assert [time for time, _ in asks] == [1.0, 202.0, 403.0, 604.0]
    assert asks[1][1] == ("optimal for a failure every 10000 seconds: every 3.34 min, because a save blocks 2 s",)
    _, asks = train(rule | Every(steps=150), until=700, cost=2.0)
    assert [len(reasons) for _, reasons in asks] == [1] * len(asks)
    between = [after - before for (before, _), (after, _) in itertools.pairwise(asks)]
    assert max(between) <= every + 1
    assert [time for time, _ in asks][:3] == [1.0, 152.0, 304.0]


@usual
@given(st.floats(60, 1e5), st.floats(0.01, 5))
def test_saves_are_optimals_interval_apart(mtbf, cost):
    rule = Optimal(mtbf)
    interval = rule.pace.interval(cost)
    _, asks = train(rule, until=6 * interval, step_seconds=interval / 10, cost=cost)
    times = [time for time, _ in asks]
    for before, after in itertools.pairwise(times[1:]):
        assert interval <= (after - before) * (1 + 1e-9)
        assert after - before <= interval * 1.1 + cost + 1e-9


# -- composing, words, mistakes --------------------------------------------------------------------------------------


def test_they_compose_like_other_triggers():
    def fires(trigger, state, **facts):
        decision = decide(Policy(save=trigger), state, Event.step_end(step=9, **facts))[1]
        return decision.save.reasons if decision.save else ()

    paid = State(time=60.0, costs=Costs(blocked=0.5, recent=(0.5,), asked=10.0))
    for time, due in ((99.0, False), (100.0, True)):
        why = ("overhead 1%: every 50 s, because a save blocks 0.5 s",) if due else ()
        assert fires(BUSY, paid, time=time) == why
        assert fires(BUSY & flagged, paid, time=time) == ()
        assert fires(BUSY & flagged, paid, time=time, metrics={"flag": 1}) == tuple(f"{w} and flagged" for w in why)
        assert fires(~BUSY, paid, time=time) == (() if due else ("not overhead 1%",))
        assert fires(BUSY | OnPreempt(), paid, time=time) == why


def test_processes_of_one_training_share_the_clock_that_they_go_by():
    assert Policy(save=BUSY).may_differ_across_ranks
    assert Policy(save=OnPreempt() | Optimal(60)).may_differ_across_ranks
    assert Policy(save=BUSY | Optimal(60) | Every(steps=1)).adaptive == (BUSY, Optimal(60))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Every(overhead=0), "Every: overhead is 0; expected a share above 0 and below 1, such as 0.01"),
        (lambda: Every(overhead=1), "Every: overhead is 1; expected a share above 0 and below 1, such as 0.01"),
        (lambda: Every(overhead=math.nan), "Every: overhead is nan; expected a share above 0 and below 1"),
        (lambda: Every(overhead="1%"), "Every: overhead is '1%'; expected a share above 0 and below 1"),
        (lambda: Every(overhead=True), "Every: overhead is True; expected a share above 0 and below 1"),
        (lambda: Every(overhead=0.1, steps=1), "Every: got steps=1, overhead=0.1; expected exactly one of epochs"),
        (lambda: Optimal(0), "Optimal: mtbf is 0; expected a duration above 0"),
        (lambda: Optimal("6 weeks"), "Optimal: mtbf is '6 weeks'; expected a duration above 0"),
        (lambda: Optimal(math.inf), "Optimal: mtbf is inf; expected a duration above 0"),
    ],
)
def test_a_mistake_is_one_clear_line(make, message):
    with pytest.raises(PolicyError) as caught:
        make()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
