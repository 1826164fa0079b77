"""The attributes that Lightning's loggers read from the callback, and how it shows itself."""

import pytest

from ckpt_callbacks import Every, KeepAll, KeepBest, KeepEvery, KeepLast, Metric, Policy, PolicyError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, fit


@pytest.mark.parametrize(
    ("keep", "k"),
    [
        (KeepBest(2, by=VAL) | KeepLast(9), 2),
        (KeepBest(2, by=VAL) | KeepBest(4, by=Metric("loss", mode="min")), 4),
        (KeepBest(1, by=VAL) | KeepEvery(epochs=5), 1),
        (KeepAll() | KeepBest(2, by=VAL), -1),
        (KeepLast(3), 1),
    ],
)
def test_the_number_of_best_models_is_that_of_the_policy(tmp_path, keep, k):
    assert LightningCheckpoint(tmp_path, Policy(Every(epochs=1), keep)).save_top_k == k


def test_auto_is_a_mode_that_the_name_says(tmp_path):
    assert LightningCheckpoint(tmp_path, monitor="val/acc", mode="auto").mode == "max"
    with pytest.raises(
        PolicyError, match=r"^LightningCheckpoint: monitor: 'reward' does not say .*; expected mode='min'"
    ):
        LightningCheckpoint(tmp_path, monitor="reward", mode="auto")


def test_loggers_see_the_best_models_and_people_one_short_line(tmp_path):
    *_, ours = fit(tmp_path, Policy(Every(epochs=1), KeepBest(2, by=VAL) | KeepLast(9)))
    assert len(ours.records()) == 3
    ranked = sorted(ours.records(), key=lambda record: record.metrics["val_loss"])
    assert list(ours.best_k_models) == [str(record.path) for record in ranked[:2]]
    assert repr(ours) == f"<LightningCheckpoint of {tmp_path}>"
    assert repr(ours.last()).startswith("<Record 3: Model-003-30.ckpt, verified, step 30, epoch 3, {val_loss=")
