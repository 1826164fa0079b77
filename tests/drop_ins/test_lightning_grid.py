"""The original and the drop-in for ModelCheckpoint on generated arguments and curves: the same, epoch by epoch."""

import math

import pytest

from ckpt_callbacks.lightning import ModelCheckpoint
from tests.drop_ins.lightning_grid import cases, run
from tests.drop_ins.lightning_runs import Original

CASES, PART = cases(1200), 60


class Undecided(ModelCheckpoint):
    """The drop-in without the decisions that are deliberately different."""

    check_monitor_top_k = Original.check_monitor_top_k

    def _is_stale(self, trainer):
        return False

    def _save_what_waited(self, trainer):
        """Forget it, as the original does."""

    _save_newest_as_last = _save_last_meanwhile = _save_what_waited


Undecided.__qualname__ = "ModelCheckpoint"  # it is in the key of the state


def compare(tmp_path, number, case, monkeypatch):
    """Raise an error unless both do the same, apart from the decisions that differ, and exactly without these."""
    original, error = run(Original, tmp_path / f"{number}-original", case)
    assert error is None and len(original) == 5, case  # it trains to the end
    with monkeypatch.context() as patched:
        patched.setattr("ckpt_callbacks.lightning.drop_ins.decisions.rank", lambda callback: None)
        assert run(Undecided, tmp_path / f"{number}-undecided", case) == (original, error), case
    found, raised = run(ModelCheckpoint, tmp_path / f"{number}-drop-in", case)
    if not case.differences:
        assert (found, raised) == (original, error), case
        return
    assert raised is None or raised == error, case
    if case.differences == {"stale last"} and case.arguments["save_top_k"] and case.arguments["filename"] != "last":
        # Only what `last.ckpt` holds, and from when on it exists, may differ.
        assert [dict(seen, files=0, last=0) for seen in found] == [dict(seen, files=0, last=0) for seen in original], (
            case
        )
    for seen in found:
        assert not any(score is not None and math.isnan(score) for score in seen["ranked"].values()), case
        if "NaN ranks" in case.differences and case.arguments["save_top_k"] > 0:
            assert not any(map(math.isinf, seen["ranked"].values())), case
        named = [*seen["ranked"], seen["best"][0], seen["last"]]
        assert {name.lstrip("/") for name in named if name} <= {*seen["files"]}, case


def test_the_same_on_a_sample(tmp_path, monkeypatch):
    for number, case in enumerate(CASES[:12]):
        compare(tmp_path, number, case, monkeypatch)


def parts():
    """Return where each part of the grid begins; the first two are slow, and the others are for the whole grid."""
    return [
        pytest.param(begin, marks=pytest.mark.slow if begin < 2 * PART else pytest.mark.soak)
        for begin in range(0, len(CASES), PART)
    ]


@pytest.mark.parametrize("begin", parts())
def test_the_same_on_the_grid(tmp_path, begin, monkeypatch):
    for number, case in enumerate(CASES[begin : begin + PART]):
        compare(tmp_path, number, case, monkeypatch)
