"""The order of contents: joins, what a rewrite can reach, and that it ends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks import Contents
from ckpt_callbacks.policy.contents_order import exceeds, holds, joined, reachable
from ckpt_callbacks.policy.name_patterns import common, covered, matches, without_covered
from tests.support.histories import thorough, wanted_contents

SPLIT = Contents("weights", shards={"max_size": 5})
NAMES = ["a", "a.b", "a.b.weight", "a/0", "ab", "b", "b.a", ""]
patterns = st.text("ab.*", min_size=1, max_size=4)
names = st.text("ab./", max_size=6)


@thorough
@given(st.lists(wanted_contents, min_size=1, max_size=4))
def test_a_join_holds_each_part_in_any_order(parts):
    join = joined(parts)
    assert all(holds(join, part) for part in parts)
    for order in itertools.permutations(parts):
        assert holds(joined(order), join) and holds(join, joined(order))
    assert len(parts) > 1 or holds(parts[0], join)


@thorough
@given(wanted_contents, wanted_contents, wanted_contents)
def test_the_order_is_one(a, b, c):
    assert holds(a, a) and (not (holds(a, b) and holds(b, c)) or holds(a, c))
    assert not holds(a, b) or (holds(joined([a, b]), a) and holds(a, joined([a, b])))  # and no larger than needed


@thorough
@given(wanted_contents, st.lists(wanted_contents, max_size=5))
def test_a_rewrite_leaves_no_more_than_is_needed_and_happens_once(found, later):
    for needed in later:
        after = reachable(found, needed)
        assert holds(found, after), "nothing comes back"
        assert exceeds(found, needed) == (not holds(after, found))
        assert not exceeds(after, needed), "once"
        found = after


@pytest.mark.parametrize(
    ("needs", "join"),
    [
        ([Contents("weights", "bf16"), Contents("weights", "fp16")], Contents("weights", "fp32")),
        ([Contents("weights", "int4"), Contents("weights", "int8")], Contents("weights", "int8")),
        ([Contents("full", "bf16"), Contents("weights", "int8")], Contents("full", "bf16")),
        ([Contents("weights", "bf16"), Contents("full")], Contents("full")),
        ([Contents("weights", "bf16"), Contents("weights", "fp32")], Contents("weights", "fp32")),
        ([Contents("full", "bf16"), Contents("weights")], Contents("full")),
        ([Contents(drop=("a", "b")), Contents(drop=("b", "c"))], Contents(drop="b")),
        ([Contents(drop="a"), Contents(drop=("a.b", "c"))], Contents(drop="a.b")),
        ([Contents(drop="a", reference="x"), Contents()], Contents()),
        ([Contents("weights", source="ema"), Contents("weights", source="model")], Contents("full")),
        ([Contents("weights", "bf16", source="ema"), Contents("weights", "bf16")], Contents("full", "bf16")),
        ([Contents("weights", source="ema"), Contents("full", "bf16")], Contents("full")),
        ([Contents("weights", weights="trainable"), Contents("weights", "bf16")], Contents("weights")),
        ([SPLIT, Contents("weights", "bf16", shards={"max_size": 7})], Contents("weights", shards={"max_size": 7})),
        ([SPLIT, Contents("weights")], Contents("weights")),
        ([SPLIT, Contents("weights", compression="zstd")], Contents("weights")),
        ([SPLIT, Contents("full")], Contents("full")),
        ([SPLIT, Contents("weights", source="ema", shards={"max_size": 5})], Contents("full")),
    ],
)
def test_what_two_rules_need_together(needs, join):
    assert joined(needs) == joined(needs[::-1]) == join


@pytest.mark.parametrize(("kept", "needed"), [("bf16", "fp16"), ("fp16", "bf16")])
def test_a_type_of_the_same_size_is_left(kept, needed):
    assert not exceeds(Contents("weights", kept), Contents("weights", needed))
    assert reachable(Contents("full", kept), Contents("weights", needed)) == Contents("weights", kept)


@thorough
@given(patterns, patterns, names)
def test_what_covers_a_pattern_means_all_that_it_means(pattern, other, name):
    if covered(pattern, [other]) and matches(pattern, name):
        assert matches(other, name)


@thorough
@given(st.lists(st.lists(patterns, max_size=3), min_size=1, max_size=3), names)
def test_common_patterns_mean_only_what_each_group_means(groups, name):
    if any(matches(pattern, name) for pattern in common(groups)):
        assert all(any(matches(pattern, name) for pattern in group) for group in groups)
    for group in groups:
        few = without_covered(group)
        assert any(matches(p, name) for p in few) == any(matches(p, name) for p in group)


def test_a_name_means_a_weight_and_all_below_it():
    assert [name for name in NAMES if matches("a", name)] == ["a", "a.b", "a.b.weight", "a/0"]
    assert [name for name in NAMES if matches("*.weight", name)] == ["a.b.weight"]
    assert [name for name in NAMES if matches("a*", name)] == ["a", "a.b", "a.b.weight", "a/0", "ab"]
