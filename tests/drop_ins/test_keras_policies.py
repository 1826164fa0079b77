"""The policies that the arguments of the Keras drop-ins mean."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import (
    Every,
    Improves,
    KeepAll,
    KeepBest,
    KeepLast,
    Metric,
    OnPreempt,
    Patience,
    Policy,
    PolicyError,
)
from ckpt_callbacks.config import Config
from ckpt_callbacks.keras import BackupAndRestore, EarlyStopping, KerasCheckpoint, ModelCheckpoint
from tests.drop_ins.keras_files import fit, tiny

VAL = Metric("val_loss", mode="min")
MEANT = [
    (ModelCheckpoint, {"filepath": "a/model.keras"}, Policy(Every(epochs=1), KeepLast(1))),
    (ModelCheckpoint, {"filepath": "a/{epoch}.keras", "save_freq": 50}, Policy(Every(steps=50), KeepAll())),
    (
        ModelCheckpoint,
        {"filepath": "a/best.keras", "save_best_only": True},
        Policy(Improves(VAL), KeepBest(1, by=VAL)),
    ),
    (
        ModelCheckpoint,
        {"filepath": "a/{epoch}.keras", "save_best_only": True, "monitor": "val_auc", "mode": "max"},
        Policy(Improves(Metric("val_auc", mode="max")), KeepAll(), best_by=Metric("val_auc", mode="max")),
    ),
    (
        ModelCheckpoint,
        {
            "filepath": "best.keras", "save_best_only": True, "monitor": "loss", "initial_value_threshold": 0.5,
            "save_freq": 9,
        },
        Policy(
            Every(steps=9) & Improves(Metric("loss", mode="min", baseline=0.5, per="step")),
            KeepBest(1, by=Metric("loss", mode="min", baseline=0.5, per="step")),
        ),
    ),
    (BackupAndRestore, {"backup_dir": "a"}, Policy(Every(epochs=1), KeepLast(1))),
    (
        BackupAndRestore,
        {"backup_dir": "a", "save_freq": 7, "double_checkpoint": True}, Policy(Every(steps=7), KeepLast(2)),
    ),
    (BackupAndRestore, {"backup_dir": "a", "save_freq": False}, Policy(OnPreempt(), KeepLast(1))),
    (EarlyStopping, {}, Policy(Every(epochs=1), KeepLast(1), Patience(VAL, 1))),
    (
        EarlyStopping,
        {"monitor": "val_mae", "patience": 5, "min_delta": -0.1, "baseline": 2.0, "start_from_epoch": 3},
        Policy(
            Every(epochs=1),
            KeepLast(1),
            Patience(Metric("val_mae", mode="min", min_delta=0.1, baseline=2.0), 5, start_from_epoch=3),
        ),
    ),
    (
        EarlyStopping,
        {"restore_best_weights": True},
        Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL), Patience(VAL, 1)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arguments", "policy"), MEANT)
def test_a_policy_says_what_the_arguments_mean(kind, arguments, policy):
    callback = kind(**arguments)
    assert callback.to_policy() == policy and "version: 1" in policy.to_yaml()
    meaning = callback.explain()
    assert Config.from_mapping(Config(policy).to_mapping()).policy == policy
    assert f"dirpath: {meaning.settings['dirpath']}" in meaning.to_yaml() if "dirpath" in meaning.settings else True


@pytest.mark.parametrize(("monitor", "mode"), [("val_accuracy", "max"), ("val_mae", "min"), ("val_acc", "max")])
def test_auto_is_what_keras_makes_of_the_name(monitor, mode):
    assert EarlyStopping(monitor).to_policy().stop.metric.mode == mode


def test_auto_of_an_unknown_name_asks_for_the_mode():
    with pytest.raises(PolicyError, match=r"^EarlyStopping: mode='auto' asks the model's metrics .*'val_x' is better"):
        EarlyStopping("val_x").to_policy()
    with pytest.raises(
        PolicyError, match=r"^EarlyStopping: monitor is \['loss'\]; expected the name of a logged value"
    ):
        EarlyStopping(["loss"]).to_policy()


@pytest.mark.slow
def test_auto_is_what_the_metrics_of_the_model_say():
    best, named = (
        ModelCheckpoint("a.keras", "val_distance", save_best_only=True),
        keras.metrics.MeanSquaredError(name="distance"),
    )
    model = tiny(trained=False)
    model.compile("sgd", "mse", metrics=[named])
    model.fit(np.zeros((1, 1)), np.zeros((1, 1)), verbose=0)
    best.set_model(model)
    assert best.to_policy().best_metric.mode == "min" and best.monitor_op is None


def test_a_checkpoint_of_weights_says_so():
    meaning = ModelCheckpoint("a/{epoch}-{val_mae:.2f}.weights.h5", save_weights_only=True).explain()
    assert "contents: weights" in meaning.to_yaml() and "no run can be resumed from weights alone" in meaning.notes
    assert [one.name for one in meaning.differences] == ["name that is not logged"]


@pytest.mark.slow
def test_the_policy_stops_and_keeps_as_the_callbacks_do(tmp_path):
    best = ModelCheckpoint(str(tmp_path / "best.keras"), monitor="loss", save_best_only=True)
    own = KerasCheckpoint(tmp_path / "run", best.to_policy())
    fit(tiny(), best, own, epochs=3)
    assert own.best().metrics["loss"] == pytest.approx(float(best.best))


def test_what_is_explained_gives_files_of_the_same_names(tmp_path):
    template = str(tmp_path / "{epoch:02d}-{val_loss:.3f}.keras")
    meaning = ModelCheckpoint(template).explain()
    settings = {**meaning.settings, "dirpath": tmp_path / "run"}
    original = keras.callbacks.ModelCheckpoint(template)
    for _ in range(2):  # neither continues the last run
        fit(tiny(), original, KerasCheckpoint(policy=meaning.policy, **settings), epochs=3)
        names = sorted(path.name for path in tmp_path.glob("*.keras"))
        saved = sorted(path.name for path in (tmp_path / "run").glob("*.keras") if not path.is_symlink())
        assert len(names) == 3 and set(names) <= set(saved)


@pytest.mark.parametrize(
    "filepath", ["a/best.keras", "a/{epoch}/x.keras", "a/{epoch}-{batch}.keras", "a/{epoch!r}.keras"]
)
def test_other_names_are_left_to_the_user(filepath):
    assert "filename" not in ModelCheckpoint(filepath).explain().settings
