"""The policies that the arguments of ModelCheckpoint mean."""

from datetime import timedelta
from functools import reduce
from operator import or_

import pytest

from ckpt_callbacks import (
    Diverges,
    Every,
    KeepAll,
    KeepBest,
    KeepLast,
    Metric,
    NonFinite,
    OnException,
    Patience,
    Policy,
    Reaches,
)
from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.lightning import EarlyStopping, LightningCheckpoint, ModelCheckpoint
from tests.adapters.lightning.task import Model
from tests.drop_ins.lightning_runs import fit

VAL = Metric("val_loss", mode="min")
MEANT = [
    ({}, Policy(Every(epochs=1), KeepLast(1))),
    ({"save_top_k": -1, "every_n_train_steps": 100}, Policy(Every(steps=100), KeepAll())),
    ({"monitor": "val_loss", "save_top_k": 3}, Policy(Every(epochs=1), KeepLast(1) | KeepBest(3, by=VAL))),
    ({"monitor": "step", "mode": "max", "save_top_k": 2}, Policy(Every(epochs=1), KeepLast(2))),
    (
        {"train_time_interval": timedelta(minutes=5), "save_on_exception": True},
        Policy(Every(seconds=300) | OnException(), KeepLast(1)),
    ),
    ({"train_time_interval": timedelta(0)}, Policy(Every(steps=1), KeepLast(1))),
]


@pytest.mark.parametrize(("arguments", "policy"), MEANT)
def test_a_policy_says_what_the_arguments_mean(arguments, policy):
    found = ModelCheckpoint(**arguments).to_policy()
    assert found == policy and "version: 1" in found.to_yaml()


def test_arguments_that_save_nothing_mean_no_policy():
    with pytest.raises(PolicyError, match="every_n_epochs is 0, so nothing is saved"):
        ModelCheckpoint(every_n_epochs=0).to_policy()


@pytest.mark.slow
def test_the_policy_keeps_the_same_best(tmp_path):
    fit(original := ModelCheckpoint(tmp_path / "a", monitor="val_loss"), model=Model)
    fit(own := LightningCheckpoint(tmp_path / "b", original.to_policy()), model=Model)
    assert own.best().metrics["val_loss"] == pytest.approx(float(original.best_model_score))


def stopping(*rules):
    return Policy(Every(epochs=1), KeepLast(1), reduce(or_, rules))


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [
        ({}, stopping(Patience(VAL, 3), NonFinite("val_loss"))),
        (
            {"min_delta": 0.1, "patience": 0, "check_finite": False},
            stopping(Patience(Metric("val_loss", mode="min", min_delta=0.1), 1)),
        ),
        (
            {"mode": "max", "min_delta": 0.5, "stopping_threshold": 0.9, "divergence_threshold": 0.1},
            stopping(
                Patience(Metric("val_loss", mode="max", min_delta=0.5), 3),
                NonFinite("val_loss"),
                Reaches(Metric("val_loss", mode="max"), 0.9),
                Diverges(Metric("val_loss", mode="max"), 0.1),
            ),
        ),
    ],
)
def test_early_stopping_means_a_stop(arguments, policy):
    assert EarlyStopping("val_loss", **arguments).to_policy() == policy


def test_a_negative_min_delta_means_nothing():
    with pytest.raises(PolicyError, match=r"min_delta is -0.1; expected a finite number of at least 0"):
        EarlyStopping("val_loss", min_delta=-0.1).to_policy()


def test_settings_notes_and_differences_follow_from_the_arguments(tmp_path):
    meaning = ModelCheckpoint(tmp_path, "best", "val_loss", save_last=True, save_weights_only=True).explain()
    assert meaning.settings == {"dirpath": str(tmp_path), "contents": "weights"}
    assert [one.name for one in meaning.differences] == ["NaN ranks", "stale metric", "stale last"]
    assert any(note.startswith("save_last: nothing to write: last is always there") for note in meaning.notes)
    assert ModelCheckpoint().explain().differences == ()
    assert ModelCheckpoint(monitor="val_loss", save_top_k=-1).to_policy().best_by == VAL


def test_the_oldest_ones_mean_no_policy():
    with pytest.raises(PolicyError, match=r"monitor='step' with mode='min' keeps the oldest checkpoints"):
        ModelCheckpoint(monitor="step").to_policy()
    with pytest.raises(PolicyError, match="save_top_k is 0, so nothing is saved"):
        ModelCheckpoint(save_top_k=0).to_policy()
