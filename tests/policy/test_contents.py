"""The contents that a retention rule needs of the checkpoints that it keeps."""

import pytest
from hypothesis import given

from ckpt_callbacks import Contents, KeepAll, KeepBest, KeepLast, Metric, PolicyError, Status
from ckpt_callbacks.policy.contents import FULL, as_contents
from ckpt_callbacks.policy.contents_order import exceeds, held, joined, reachable
from ckpt_callbacks.policy.plan import plan
from ckpt_callbacks.policy.ranking import newest_resumable
from tests.support.histories import ranking_metrics, records, retentions, thorough

WEIGHTS = Contents("weights")
rules = retentions(by=ranking_metrics)


@thorough
@given(rules, records)
def test_what_is_kept_needs_the_join_of_all_that_keep_it(rule, of):
    found = plan(rule, of)
    for record in found.keep:
        needs = [FULL if part.needs() is None else part.needs() for part in rule.parts()
                 for kept, _ in part.kept(of) if kept is record]  # fmt: skip
        aliases = {"last", "final", "newest resumable"} & set(found.reasons[record.id])
        if record.pinned or not needs or (aliases and record.contents == "full"):
            needs.append(FULL)
        assert found.needs[record.id] == joined(needs)
    assert set(found.needs) == {record.id for record in found.keep}
    assert newest_resumable(of) not in [r for r in found.thin if r.contents == "full"]


@thorough
@given(rules, records)
def test_what_holds_more_than_it_needs_is_thinned_once(rule, of):
    found = plan(rule, of)
    more = [r for r in found.keep if r.status is Status.VERIFIED and exceeds(held(r), found.needs[r.id])]
    assert list(found.thin) == more
    after = [thinned(record, found.needs[record.id]) if record in more else record for record in found.keep]
    assert not {record.id for record in plan(rule, after).thin} & {record.id for record in more}


def thinned(record, needed):
    now = reachable(held(record), needed)
    facts = {"dtype": now.dtype, "drop": list(now.drop), "source": now.source, "weights": now.weights}
    return record.replace(contents=now.kind, reduced=facts, status=Status.THINNED, resumable=False)


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
    ("make", "line"),
    [
        (lambda: Contents(dtype="bfloat16"), "Contents: dtype is 'bfloat16'; expected one of fp32, bf16, fp16, int8, "
         "int4; did you mean 'bf16'?"),
        (lambda: Contents(dtype=16), "Contents: dtype is 16; expected one of fp32, bf16, fp16, int8, int4; did you "
         "mean 'fp16'?"),
        (lambda: Contents("weigths"), "Contents: kind is 'weigths'; expected one of full, weights; "
         "did you mean 'weights'?"),
        (lambda: Contents(drop=["a", 3]), "Contents: drop is ['a', 3], with 3 in it; expected names of weights or of "
         "parts of the model, such as 'backbone' or ('encoder', '*.running_mean')"),
        (lambda: Contents(drop="*"), "Contents: drop is '*', which leaves no weight; expected some of the names"),
        (lambda: Contents(reference="hub"), "Contents: reference is 'hub', but nothing is left out; expected drop, or "
         "weights='trainable', as well"),
        (lambda: Contents("weights", source="emma"), "Contents: source is 'emma'; expected one of model, ema, swa; "
         "did you mean 'ema'?"),
        (lambda: Contents(source="ema"), "Contents: source is 'ema' with kind='full', which holds what the run needs "
         "to continue from; expected kind='weights'"),
        (lambda: Contents(weights="train"), "Contents: weights is 'train'; expected one of all, trainable; "
         "did you mean 'trainable'?"),
        (lambda: Contents(shards={"max_size": "5 GB"}), "Contents: shards is {'max_size': '5 GB'} with kind='full'; "
         "expected kind='weights': a run resumes from one file"),
        (lambda: Contents("weights", compression="auto", shards={"max_size": 2**30}), "Contents: shards is "
         "{'max_size': '1 GiB'} with compression='auto'; expected one of the two: other programs read shards as they "
         "are"),
        (lambda: Contents("weights", shards="5 GB"), "Contents: shards is '5 GB'; expected a mapping with max_size "
         "alone, such as {'max_size': '5 GB'}"),
        (lambda: Contents("weights", shards={"max_sise": "5 GB"}), "Contents: shards is {'max_sise': '5 GB'}; expected "
         "a mapping with max_size alone, such as {'max_size': '5 GB'}"),
        (lambda: Contents("weights", shards={"max_size": "5 G"}), "Contents: shards: max_size is '5 G'; expected a "
         "size: whole bytes, or text such as 500 MB, 5 GB or 2 GiB"),
        (lambda: KeepLast(1, contents={"kind": "weights", "shards": {"max_size": 0}}), "KeepLast: contents: shards: "
         "max_size is 0; expected a size: whole bytes, or text such as 500 MB, 5 GB or 2 GiB, above 0"),
        (lambda: KeepLast(1, contents={"dtyp": "bf16"}), "KeepLast: contents: got an unknown argument 'dtyp'; "
         "did you mean 'dtype'?"),
    ],
)  # fmt: skip
def test_wrong_contents_are_one_line(make, line):
    with pytest.raises(PolicyError) as caught:
        make()
    assert str(caught.value) == line


def test_contents_say_in_a_few_words_what_they_are():
    assert str(Contents("weights", "bf16", drop=("a", "b.*"))) == "weights, bf16, without a, b.*"
    assert repr(Contents("weights", drop="a")) == "Contents(kind='weights', drop=('a',))"
    assert eval(repr(Contents())) == Contents()
    split = Contents("weights", shards={"max_size": "1.5 GB"})
    assert str(split) == "weights, shards of 1500 MB" and eval(repr(split)) == split
    assert hash(split) == hash(Contents("weights", shards={"max_size": 1_500_000_000}))


def test_contents_of_a_whole_policy_are_those_of_rules_without_their_own():
    rules = KeepLast(2) | KeepBest(1, by="val_loss", contents="full")
    assert rules.with_contents(WEIGHTS) == KeepLast(2, contents=WEIGHTS) | KeepBest(1, by="val_loss", contents="full")
    assert KeepLast(2).contents is None


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
