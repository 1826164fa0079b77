"""Runs that are resumed by a script with another model, data, learning rate or policy."""

import keras
import pytest

from ckpt_callbacks import EMA, Every, KeepAll, Metric, Policy
from ckpt_callbacks.errors import ResumeError
from tests.adapters.keras.task import (
    EACH_EPOCH_AND_STEP,
    ONCE,
    VAL,
    checkpoint,
    fit,
    model,
    quick,
    updates,
)  # fmt: skip
from tests.support.command import ckpt


@ONCE
def test_another_model_is_one_clear_line(tmp_path):
    fit(quick(), checkpoint(tmp_path), epochs=1)
    with pytest.raises(ResumeError, match="does not fit 'digits'") as caught:
        fit(model(units=9), checkpoint(tmp_path))
    assert "\n" not in str(caught.value) and "resume='never'" in str(caught.value)


@ONCE
def test_an_epoch_that_cannot_be_continued_is_trained_again_and_that_is_logged(tmp_path, caplog):
    callback = checkpoint(tmp_path, EACH_EPOCH_AND_STEP)
    fit(quick(), callback, epochs=1)
    resumed = quick()
    fit(resumed, checkpoint(tmp_path / "other", resume=callback.records()[0].path), epochs=1, batch_size=8)
    assert "after 3 batches of an epoch, but an epoch has 8 batches now, and had 4" in caplog.text
    assert updates(resumed) == 3 + 8


@ONCE
@pytest.mark.parametrize(
    "wrapped",
    [lambda adam: adam, pytest.param(keras.optimizers.LossScaleOptimizer, marks=pytest.mark.slow)],
    ids=["plain", "scaled"],
)
def test_a_learning_rate_that_the_script_has_changed_is_not_restored_silently(tmp_path, caplog, wrapped):
    def train(rate, epochs):
        trained = model(wrapped(keras.optimizers.Adam(rate)), run_eagerly=True)
        falling = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
        caplog.clear()
        fit(trained, falling, checkpoint(tmp_path), epochs=epochs)
        return float(trained.optimizer.learning_rate)

    train(0.01, 1)
    assert train(0.01, 2) == pytest.approx(0.0025) and "learning rate" not in caplog.text
    assert train(0.001, 3) == pytest.approx(0.00125)
    assert "the script sets the learning rate to 0.001, and set it to 0.01 before" in caplog.text
    train(0.001, 4)
    assert "learning rate" not in caplog.text, "it was said once"


@ONCE
def test_schedules_come_from_the_script(tmp_path, caplog):
    for epochs, rate in ((1, 0.01), (2, 0.001)):
        schedule = keras.optimizers.schedules.ExponentialDecay(rate, 100, 0.9)
        fit(model(keras.optimizers.Adam(schedule), run_eagerly=True), checkpoint(tmp_path), epochs=epochs)
    assert "learning rate" not in caplog.text


@ONCE
def test_another_policy_of_a_finished_run_is_logged_and_recorded_for_the_command(tmp_path, caplog):
    for metric in (VAL, Metric("val_loss", mode="min", smoothing=EMA(0.3))):
        callback = checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll(), best_by=metric))
        fit(quick(), callback, epochs=1)
    assert callback.best() is None and len(callback.records()) == 1
    assert "best is no longer digits-001-4.keras, but none: no checkpoint can be ranked by ema(0.3)" in caplog.text
    assert "has no 'best' checkpoint yet: no checkpoint can be ranked by" in ckpt("show", tmp_path, "best").output
    assert "nothing is wrong" in ckpt("doctor", tmp_path, "--dry-run").output
