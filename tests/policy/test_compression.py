"""The choice of checkpoints to compress: those that all rules want small, and that no run would resume from."""

import pytest

from ckpt_callbacks import Contents, KeepAll, KeepLast, Record, Status, plan
from ckpt_callbacks.policy.compression import least_gain, to_compress
from ckpt_callbacks.policy.contents_order import joined

AUTO, ZSTD = Contents(compression="auto"), Contents(compression="zstd")


def records(*changes):
    """Return one verified record for each of some changes, and a newer one from which a run would resume."""
    return [Record(number, f"{number}.ckpt", status=Status.VERIFIED).replace(**change)
            for number, change in enumerate([*changes, {}], 1)]  # fmt: skip


def ids(rule, *changes):
    return [record.id for record, _ in to_compress(plan(rule, records(*changes)))]


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


def test_what_is_to_be_reduced_is_reduced_first():
    packed = KeepAll(contents=Contents("weights", compression="auto"))
    assert ids(packed, {}) == []
    assert ids(packed, {"contents": "weights", "resumable": False, "status": Status.THINNED}) == [1]
    assert ids(KeepLast(2) | packed, {}, {}) == []


def test_auto_has_to_pay():
    assert least_gain(AUTO) == 0.05 and least_gain(ZSTD) < 0
