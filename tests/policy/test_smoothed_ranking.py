"""Policies that rank by an average, and may delete the best model."""

import pytest

from ckpt_callbacks import EMA, Every, Improves, KeepAll, KeepBest, KeepLast, Mean, Metric, Policy
from ckpt_callbacks.policy.smoothed_ranking import smoothed_ranking

VAL, ACC = Metric("val_loss", mode="min"), Metric("acc", mode="max", smoothing=Mean(3))
SMOOTH = Metric("val_loss", mode="min", smoothing=EMA(0.3))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"keep": KeepBest(2, by=SMOOTH)}, SMOOTH),
        ({"keep": KeepBest(1, by=VAL) | KeepBest(2, by=ACC)}, ACC),
        ({"keep": KeepLast(1), "best_by": SMOOTH}, SMOOTH),
        ({"save": Improves(SMOOTH), "keep": KeepLast(1)}, SMOOTH),
        ({"keep": KeepBest(2, by=SMOOTH) | KeepBest(1, by=VAL)}, None),
        ({"keep": KeepBest(2, by=SMOOTH), "best_by": VAL}, None),
        ({"keep": KeepBest(2, by=SMOOTH) | KeepAll()}, None),
        ({"save": Every(epochs=1) | Improves(SMOOTH), "keep": KeepBest(1, by=VAL)}, None),
        ({"keep": KeepLast(1)}, None),
    ],
)
def test_a_policy_that_keeps_only_the_best_average_is_found(options, found):
    assert smoothed_ranking(Policy(**{"save": Every(epochs=1), **options})) == found
