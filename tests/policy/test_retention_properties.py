"""Properties of retention, for every rule and every list of records."""

import copy
import math

from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.retention import KeepBest, KeepLast
from ckpt_callbacks.record import Status
from tests.support.histories import ranking_metrics, records, retentions, thorough, usual

rules = retentions(by=ranking_metrics)
bests = st.none() | ranking_metrics


def ids(records):
    return [record.id for record in records]


@thorough
@given(rules, records, bests)
def test_keep_and_remove_partition_the_records(rule, of, best):
    found = plan(rule, of, best=best)
    assert sorted(ids(found.keep) + ids(found.remove)) == ids(of)
    assert set(found.reasons) == set(ids(found.keep))
    assert all(found.reasons.values())


@thorough
@given(rules, records, bests)
def test_pruning_twice_changes_nothing(rule, of, best):
    first = plan(rule, of, best=best)
    again = plan(rule, first.keep, best=best)
    assert again.remove == ()
    assert again.keep == first.keep
    assert again.reasons == first.reasons


@thorough
@given(rules, records, bests)
def test_pruning_after_each_save_is_pruning_once_at_the_end(rule, of, best):
    """While no record changes: nothing that a rule would keep later has been deleted before."""
    survivors = ()
    for record in of:
        survivors = plan(rule, [*survivors, record], best=best).keep
    assert survivors == plan(rule, of, best=best).keep


@thorough
@given(rules, rules, records, bests)
def test_a_union_keeps_what_each_part_keeps(one, other, of, best):
    both = set(ids(plan(one | other, of, best=best).keep))
    assert both >= set(ids(plan(one, of, best=best).keep)) | set(ids(plan(other, of, best=best).keep))


@usual
@given(rules, records, bests)
def test_a_union_keeps_nothing_else(rule, of, best):
    parts = [set(ids(plan(part, of, best=best or first_best(rule)).keep)) for part in rule.parts()]
    assert set(ids(plan(rule, of, best=best).keep)) == set().union(*parts)


def first_best(rule):
    return next((part.by for part in rule.parts() if isinstance(part, KeepBest)), None)


@usual
@given(st.data(), rules, records, bests)
def test_a_plan_does_not_depend_on_the_order_and_changes_nothing(data, rule, of, best):
    shuffled = data.draw(st.permutations(of))
    before = copy.deepcopy(shuffled)
    assert plan(rule, shuffled, best=best) == plan(rule, of, best=best)
    assert shuffled == before


@thorough
@given(rules, records, bests)
def test_what_is_promised_always_survives(rule, of, best):
    survivors = set(ids(plan(rule, of, best=best).keep))
    live = [r for r in of if not r.superseded]
    promised = {r.id for r in of if r.pinned} | set(ids(live[-1:]))
    promised |= set(ids([r for r in live if r.resumable and r.status is Status.VERIFIED][-1:]))
    promised |= set(ids([r for r in live if r.final][-1:]))
    assert survivors >= promised


@thorough
@given(st.integers(1, 6), records)
def test_the_last_are_the_newest_of_the_current_branch(n, of):
    chosen = {record.id for record, _ in KeepLast(n).kept(of)}
    live, dead = ([r.id for r in of if r.superseded is gone] for gone in (False, True))
    assert chosen >= set(live[-n:])
    assert len(chosen) == min(n, len(of))
    assert chosen - set(live) == set(dead[len(dead) - max(0, len(chosen) - len(live)) :])


@thorough
@given(ranking_metrics, st.integers(1, 4), records)
def test_the_best_are_better_than_the_rest_and_none_is_odd(metric, n, of):
    found = plan(KeepBest(n, by=metric), of)
    ranked = {r.id: metric.score(r) for r in of if metric.score(r) is not None and not r.exceptional}
    assert all(math.isfinite(score) for score in ranked.values())
    chosen = {id for id, reasons in found.reasons.items() if any("#" in why for why in reasons)}
    assert chosen <= set(ranked), "a best one has a score of its own"
    assert len(chosen) == min(n, len(ranked))
    assert not any(metric.better(ranked[one], ranked[other]) for one in set(ranked) - chosen for other in chosen)
    live = [ranked[r.id] for r in of if r.id in ranked and not r.superseded]
    alias = [ranked[id] for id, reasons in found.reasons.items() if "best" in reasons]
    assert alias == ([min(live) if metric.mode == "min" else max(live)] if live else [])
