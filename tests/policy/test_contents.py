"""The contents that a retention rule needs of the checkpoints that it keeps."""

import pytest
from hypothesis import given

from ckpt_callbacks import Contents, KeepAll, KeepBest, KeepLast, Metric, PolicyError, Status
from ckpt_callbacks.policy.contents import as_contents
from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.ranking import newest_resumable
from tests.support.histories import ranking_metrics, records, retentions, thorough

WEIGHTS = Contents("weights")
rules = retentions(by=ranking_metrics)


@thorough
@given(rules, records)
def test_only_what_nothing_needs_whole_is_thinned(rule, of):
    found = plan(rule, of)
    needs = {record.id: [] for record in of}
    for part in rule.parts():
        for record, _ in part.kept(of):
            needs[record.id].append(part.contents)
    for record in of:
        aliases = {"last", "final", "newest resumable", "pinned"} & set(found.reasons.get(record.id, ()))
        only_weights = needs[record.id] != [] and set(needs[record.id]) == {WEIGHTS} and not aliases
        is_whole = record.status is Status.VERIFIED and record.contents == "full"
        assert (record in found.thin) == (only_weights and is_whole)
    assert all(record in found.keep for record in found.thin) and newest_resumable(of) not in found.thin


@thorough
@given(rules, records)
def test_contents_change_nothing_about_what_is_kept(rule, of):
    plain = [type(part)(**{name: value for name, value in vars(part).items() if name in fields(part)})
             for part in rule.parts()]  # fmt: skip
    whole = plain[0]
    for part in plain[1:]:
        whole = whole | part
    assert [record.id for record in plan(rule, of).keep] == [record.id for record in plan(whole, of).keep]


def fields(rule):
    return [name for name in rule.__dataclass_fields__ if name != "contents"]


@pytest.mark.parametrize("given", ["weights", WEIGHTS, Contents(kind="weights")])
def test_a_kind_alone_is_enough(given):
    assert KeepLast(2, contents=given) == KeepLast(2, contents=WEIGHTS)
    assert as_contents("here", given) == WEIGHTS


@pytest.mark.parametrize(
    "make", [lambda: KeepAll(contents="weight"), lambda: KeepLast(1, contents=3), lambda: Contents("all")]
)
def test_other_contents_are_refused_in_one_line(make):
    with pytest.raises(PolicyError, match="expected one of full, weights") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_repr_can_be_read_back():
    rule = KeepBest(2, by=Metric("val_loss", mode="min"), contents="weights") | KeepAll(contents="full") | KeepLast(3)
    assert eval(repr(rule)) == rule
