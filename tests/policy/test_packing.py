"""The choice of checkpoints to compress or split: those that all rules want so, and that no run would resume from."""

import pytest

from ckpt_callbacks import Contents, KeepAll, KeepLast, Record, Status, plan
from ckpt_callbacks.policy.contents_order import held, joined
from ckpt_callbacks.policy.packing import least_gain, to_pack

AUTO, ZSTD = Contents(compression="auto"), Contents(compression="zstd")


def records(*changes):
    """Return one verified record for each of some changes, and a newer one from which a run would resume."""
    return [Record(number, f"{number}.ckpt", status=Status.VERIFIED).replace(**change)
            for number, change in enumerate([*changes, {}], 1)]  # fmt: skip


def ids(rule, *changes):
    return [record.id for record, _ in to_pack(plan(rule, records(*changes)))]


@pytest.mark.parametrize(
    ("needs", "found"),
    [([AUTO, ZSTD], "auto"), ([ZSTD, ZSTD], "zstd"), ([ZSTD, Contents()], None),
     ([AUTO, Contents(compression="none")], None), ([Contents("weights", compression="zstd"), AUTO], "auto")],
)  # fmt: skip
def test_all_rules_have_to_want_it(needs, found):
    assert joined(needs).compression == joined(needs[::-1]).compression == found


def test_the_newest_and_pinned_ones_stay_native_and_none_is_compressed_twice():
    tried, done = {"compressed": {"gain": 0.01}}, {"compressed": {"codec": "zstd", "digest": "", "size": 1}}
    changes = ({}, {"pinned": True}, {"status": Status.COMMITTED}, tried, done)
    assert ids(KeepAll(contents=AUTO), *changes) == [1]
    assert ids(KeepAll(contents=ZSTD), *changes) == [1, 4]
    assert ids(KeepAll(contents=Contents(compression="none")), *changes) == ids(KeepAll(), *changes) == []


@pytest.mark.parametrize("rule", [KeepLast(1, contents=AUTO), KeepLast(1), KeepLast(1, contents=AUTO) | KeepAll()])
def test_the_end_of_a_fit_has_the_form_that_the_rules_want(rule):
    ended = records({})[:1]
    ended[0] = ended[0].replace(final=True)
    wanted = rule == KeepLast(1, contents=AUTO)
    assert [record.id for record, _ in to_pack(plan(rule, ended))] == [1] * wanted
    assert not plan(KeepLast(1, contents=Contents("weights", compression="auto")), ended).thin


def test_what_is_to_be_reduced_is_reduced_first():
    packed = KeepAll(contents=Contents("weights", compression="auto"))
    assert ids(packed, {}) == []
    assert ids(packed, {"contents": "weights", "resumable": False, "status": Status.THINNED}) == [1]
    assert ids(KeepLast(2) | packed, {}, {}) == []


def test_a_larger_one_of_weights_is_split_once():
    rule = KeepAll(contents=Contents("weights", shards={"max_size": 100}))
    saved = {"contents": "weights", "resumable": False, "size": 101}
    done = {"shards": {"max_size": 9, "digest": "", "size": 1}}
    changes = (saved, {**saved, "size": 100}, {**saved, **done}, {**saved, "pinned": True}, {"size": 101})
    assert ids(rule, *changes) == [1]
    assert [str(needed) for _, needed in to_pack(plan(rule, records(*changes)))] == ["weights, shards of 100 B"]
    assert str(held(records({**saved, **done})[0])) == "weights, shards of 9 B"


def test_auto_has_to_pay():
    assert least_gain(AUTO) == 0.05 and least_gain(ZSTD) < 0
