"""Properties of the engine, for every policy and every history."""

import itertools
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.policy.engine import decide, fold
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.triggers import Every, Improves, OnException, OnPreempt, Predicate
from tests.support.histories import (
    NAMESPACE,
    all_triggers,
    histories,
    metrics,
    play,
    policies,
    readable_triggers,
    retentions,
    stops,
    thorough,
    usual,
)

OUTCOMES = (EventKind.SAVED, EventKind.DROPPED)
VAL = Metric("val_loss", mode="min")


def through_json(state):
    return State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))


@thorough
@given(policies(), histories, st.lists(st.integers(0, 40), max_size=4))
def test_deciding_in_pieces_is_deciding_over_the_whole_list(policy, history, cuts):
    events = play(policy, history)
    state, decisions = State(), []
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    for begin, end in itertools.pairwise(bounds):
        state, some = fold(policy, events[begin:end], state)
        decisions += some
    assert (state, decisions) == fold(policy, events)


@thorough
@given(policies(), histories)
def test_a_state_that_went_through_json_decides_the_same(policy, history):
    events = play(policy, history)
    kept = resumed = State()
    for event in events:
        resumed = through_json(resumed)
        assert resumed == kept
        kept, decision = decide(policy, kept, event)
        resumed, same = decide(policy, resumed, event)
        assert same == decision
    assert resumed == kept


@thorough
@given(policies(), histories)
def test_nothing_that_is_not_finite_is_ever_compared_or_recorded(policy, history):
    state = State()
    for event in play(policy, history):
        state, decision = decide(policy, state, event)
        held = [track.best for track in state.tracks.values()]
        held += [track.saved for track in state.tracks.values()]
        held += [track.value for track in state.tracks.values()]
        held += [value for track in state.tracks.values() for value in track.memory]
        held += [value for pending in state.pending.values() for value in pending.scores.values()]
        held += decision.save.scores.values() if decision.save else []
        assert all(value is None or math.isfinite(value) for value in held)


@thorough
@given(histories, st.sampled_from(["min", "max"]), st.booleans())
def test_improves_fires_exactly_when_a_value_beats_all_that_were_saved(history, mode, others):
    """Against a model that keeps every saved value."""
    metric = Metric("val_loss", mode=mode, per="step")
    save = Improves(metric) | OnPreempt() | OnException()
    policy = Policy(save=save | Every(steps=7) if others else save)
    state, secured, under_way, failing = State(), [], {}, False
    for event in play(policy, history):
        state, decision = decide(policy, state, event)
        if event.kind in OUTCOMES:
            failing = event.kind is EventKind.DROPPED
            value = under_way.pop(event.save_id)
            secured += [value] if not failing and value is not None else []
            continue
        value = event.metrics.get("val_loss")
        value = value if value is not None and math.isfinite(value) else None
        rivals = secured + [other for other in under_way.values() if other is not None]
        better = value is not None and all(value < rival if mode == "min" else value > rival for rival in rivals)
        if decision.save:
            assert any(reason.startswith("val_loss improved") for reason in decision.save.reasons) is better
            under_way[decision.save.id] = None if event.kind is EventKind.EXCEPTION else value
        elif better:
            assert event.kind is EventKind.START or (event.kind is EventKind.STEP_END and failing)


@thorough
@given(all_triggers, st.integers(1, 20), histories)
def test_a_dropped_save_never_loses_an_interval(others, n, history):
    """Whatever else fires: at the end an interval is owed exactly when no save since its crossing worked."""
    policy = Policy(save=Every(steps=n) | others)
    reason = f"every {n} step{'s' * (n > 1)}"
    events = play(policy, history)
    state, before, epoch, crossed, covered, asked = State(), 0, 0, -1, -1, {}
    for i, event in enumerate(events):
        state, decision = decide(policy, state, event)
        if event.kind in OUTCOMES:
            when = asked.pop(event.save_id)
            covered = max(covered, when) if event.kind is EventKind.SAVED else covered
            continue
        if event.kind is not EventKind.START and event.step // n > before // n:
            crossed = i
        before, epoch = event.step, event.epoch
        if decision.save:
            asked[decision.save.id] = i if reason in decision.save.reasons else -1
    for save_id in asked:
        state, _ = decide(policy, state, Event.dropped(save_id, "interrupted"))
    _, decision = decide(policy, state, Event.epoch_end(step=before, epoch=max(epoch, 1), complete=False))
    assert (decision.save is not None and reason in decision.save.reasons) is (crossed > covered)


@thorough
@given(policies(), histories)
def test_a_stop_holds_again_at_the_start_of_a_resumed_run(policy, history):
    state = State()
    for event in play(policy, history):
        state, decision = decide(policy, state, event)
        if event.kind not in (*OUTCOMES, EventKind.END, EventKind.EXCEPTION):
            start = Event.start(step=event.step, epoch=event.epoch, time=event.time)
            assert decide(policy, through_json(state), start)[1].stop == decision.stop


@usual
@given(all_triggers, metrics, histories)
def test_no_other_trigger_changes_what_a_metric_remembers(others, metric, history):
    alone, together = Policy(save=Improves(metric)), Policy(save=others | Improves(metric))
    measured = [event for event in play(together, history) if event.kind not in OUTCOMES]
    expected, found = fold(alone, measured)[0], fold(together, measured)[0]
    assert found.tracks.get(together.tracks[metric]) == expected.tracks.get(alone.tracks[metric])


@thorough
@given(policies(), histories)
def test_saves_are_asked_for_at_the_right_events_only(policy, history):
    state, ids = State(), []
    for event in play(policy, history):
        state, decision = decide(policy, state, event)
        if event.kind in (*OUTCOMES, EventKind.START):
            assert decision.save is None
        if event.kind in (*OUTCOMES, EventKind.END, EventKind.EXCEPTION):
            assert decision.stop is None
        if event.kind in (EventKind.END, EventKind.DEMAND):
            words = [why for why in decision.save.reasons if not why.startswith("stopped: ")]
            assert words[-1] == ("on demand" if event.kind is EventKind.DEMAND else "end of training")
        if decision.save:
            ids.append(decision.save.id)
            assert all(decision.reasons)
            assert len(set(decision.save.reasons)) == len(decision.save.reasons) > 0
            if event.kind is EventKind.EXCEPTION:
                assert any("exception" in reason for reason in decision.save.reasons)
    assert ids == list(range(1, len(ids) + 1))


@usual
@given(policies(save=all_triggers.filter(lambda t: not any(isinstance(leaf, Predicate) for leaf in t.leaves()))))
def test_a_policy_reads_back_from_its_repr(policy):
    back = eval(repr(policy), NAMESPACE)
    assert back == policy
    assert hash(back) == hash(policy)
    assert repr(back) == repr(policy)


@usual
@given(st.one_of(readable_triggers, retentions(), stops, metrics))
def test_every_rule_reads_back_from_its_repr(rule):
    back = eval(repr(rule), NAMESPACE)
    assert (back, hash(back), repr(back)) == (rule, hash(rule), repr(rule))
