"""The checkpoints that go if all that the rules keep exceed the budget."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks import KeepAll, KeepBest, KeepEvery, KeepLast, Metric, Status
from ckpt_callbacks.policy.budget import fit, protected, removal_order
from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.retention import best_by
from ckpt_callbacks.record import Record
from tests.support.histories import ranking_metrics, records, retentions, thorough

VAL = Metric("val_loss", mode="min")
sizes = st.integers(0, 100)
rules = retentions(by=ranking_metrics)


@st.composite
def sized_records(draw):
    return [replace(record, size=draw(sizes)) for record in draw(records)]


def ids(found):
    return [record.id for record in found]


@thorough
@given(rules, sized_records(), st.integers(0, 600), sizes)
def test_no_more_goes_than_must_in_the_documented_order_and_what_is_protected_stays(rule, of, limit, incoming):
    kept = plan(rule, of)
    fitted = fit(kept, rule, limit, incoming=incoming)
    order = removal_order(rule, kept.keep)
    gone = len(kept.keep) - len(fitted.plan.keep)
    assert set(ids(fitted.plan.remove)) == set(ids(kept.remove)) | set(ids(order[:gone]))
    assert ids(fitted.plan.keep) == sorted(set(ids(kept.keep)) - set(ids(order[:gone])))
    assert set(fitted.plan.reasons) == set(ids(fitted.plan.keep))

    total = incoming + sum(record.size for record in fitted.plan.keep)
    assert fitted.over == max(0, total - limit)
    assert total <= limit or gone == len(order), "only what never goes is left"
    assert not gone or total + order[gone - 1].size > limit, "the last to go had to"
    for record in of:
        why = protected(kept.keep, best_by(rule)).get(record.id)
        assert (why is None) == (record in order) or record not in kept.keep


@thorough
@given(rules, sized_records(), st.integers(0, 600))
def test_fitting_twice_changes_nothing_and_the_survivors_keep_their_links(rule, of, limit):
    kept = plan(rule, of)
    once = fit(kept, rule, limit).plan
    again = plan(rule, once.keep)
    assert fit(again, rule, limit).plan.keep == once.keep
    named = [why for why in ("last", "best", "final") if any(why in reasons for reasons in kept.reasons.values())]
    for name in named:
        holders = [[id_ for id_, reasons in found.reasons.items() if name in reasons] for found in (kept, once, again)]
        assert holders[0] == holders[1] == holders[2]


def test_superseded_ones_go_first_then_the_oldest_then_the_worst():
    def record(id_, loss, **facts):
        return Record(id=id_, file=f"{id_}.raw", step=id_, epoch=id_, metrics={"val_loss": loss}, size=10,
                      status=Status.VERIFIED, resumable=True, **facts)  # fmt: skip

    of = [
        record(1, 0.5), record(2, 0.3), record(3, 0.9), record(4, 0.1, superseded=True), record(5, 0.2),
        record(6, 0.8), record(7, 0.7), record(8, 0.6, tags=("release",)), record(9, 0.95, pinned=True),
        record(10, 1.0),
    ]  # fmt: skip
    rule = KeepLast(3) | KeepBest(3, by=VAL) | KeepEvery(steps=1)
    order = removal_order(rule, of)
    assert ids(order) == [4, 1, 3, 6, 7, 2], "2 is the second best; 5 is the best, 8 is tagged, 9 pinned, 10 the last"
    whys = {record.id: protected(of, VAL).get(record.id) for record in of if record not in order}
    assert whys == {5: "best", 8: "tagged release", 9: "pinned", 10: "last"}
    assert ids(removal_order(KeepAll(), of, VAL)) == [4, 1, 2, 3, 6, 7], "no rule ranks them"
    assert ids(fit(plan(rule, of), rule, 75).plan.remove) == [1, 3, 4]
