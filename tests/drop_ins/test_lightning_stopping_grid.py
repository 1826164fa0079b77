"""The original and the drop-in for EarlyStopping on generated arguments and curves: the same, epoch by epoch."""

import pytest
from lightning.pytorch.callbacks import EarlyStopping as Original
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from ckpt_callbacks.lightning import EarlyStopping
from tests.drop_ins.lightning_stopping_grid import cases, run

CASES, PART = cases(1000), 50


def compare(tmp_path, case):
    """Raise an error unless both do the same, apart from the patience after a resume; return what was seen."""
    found = run(EarlyStopping, tmp_path / "drop-in.ckpt", case)
    assert found == run(Original, tmp_path / "original.ckpt", case, edited=case.differs), case
    return found


def test_the_same_on_a_sample(tmp_path):
    for case in CASES[:10]:
        compare(tmp_path, case)


def parts():
    """Return where each part of the grid begins; the first two are slow, and the others are for the whole grid."""
    return [
        pytest.param(begin, marks=pytest.mark.slow if begin < 2 * PART else pytest.mark.soak)
        for begin in range(0, len(CASES), PART)
    ]


@pytest.mark.parametrize("begin", parts())
def test_the_same_on_the_grid(tmp_path, begin):
    reasons, errors = set(), 0
    for case in CASES[begin : begin + PART]:
        seen, _, error = compare(tmp_path, case)
        reasons |= {look[6] for fit in seen for look in fit}
        errors += error is not None
    assert reasons == {*EarlyStoppingReason} and errors < PART / 2  # each way to stop is among them
