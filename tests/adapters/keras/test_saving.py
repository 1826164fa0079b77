"""Saves of `KerasCheckpoint`: when they happen, and what they hold."""

import logging
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, Patience, Policy, Reaches, Stopping
from ckpt_callbacks.errors import CommitError, MetricError
from tests.adapters.keras.task import (
    BACKEND,
    ONCE,
    VAL,
    checkpoint,
    digits,
    fit,
    model,
    quick,
    same,
    updates,
)
from tests.support.forks import forks_of

HERE = Path(__file__).parent


class StopAt(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        self.model.stop_training = self.left == 0


def steps(callback):
    return [(record.step, record.epoch) for record in callback.records()]


def fail_on(monkeypatch, *calls):
    real, count = keras.Model.save, iter(range(1, 1000))

    def save(self, path, **settings):
        if next(count) in calls:
            Path(path).write_bytes(b"half a fi")
            raise OSError(28, "No space left on device")
        return real(self, path, **settings)

    monkeypatch.setattr(keras.Model, "save", save)


def test_saves_names_keeps_and_describes(tmp_path):
    policy = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2))
    settings = dict(filename="{model}-{epoch:02d}-{val_loss:.3f}", metadata={"dataset": "digits"})
    callback = checkpoint(tmp_path, policy, **settings)
    assert (callback.last(), callback.best(), callback.final(), callback.resume_path()) == (None, None, None, None)
    history = fit(quick(), callback, epochs=4).history
    kept = [f"digits-{epoch:02d}-{history['val_loss'][epoch - 1]:.3f}.keras" for epoch in (3, 4)]
    assert [record.file for record in callback.records()] == kept
    assert {path.name for path in tmp_path.iterdir()} == {*kept, ".run", "last.keras", "best.keras", "final.keras"}
    record = callback.last()
    assert (record.step, record.epoch, record.metrics["val_loss"]) == (16, 4, history["val_loss"][-1])
    assert callback.resume_path() == str(record.path) == str(callback.final().path)
    facts = record.metadata
    assert (facts["model"], facts["optimizer"], facts["seed"], facts["dataset"]) == ("digits", "Adam", 7, "digits")
    assert (facts["framework"], facts["backend"]) == ("keras", BACKEND)
    assert facts["learning_rate"] == pytest.approx(0.01)


@ONCE
def test_plain_keras_opens_every_file(tmp_path):
    trained = quick()
    made = {
        "full.keras": checkpoint(tmp_path / "full"),
        "weights.weights.h5": checkpoint(tmp_path / "weights", contents="weights"),
        "legacy.h5": checkpoint(tmp_path / "legacy", format="h5"),
    }
    fit(trained, *made.values(), epochs=1)
    for name, callback in made.items():
        shutil.copy(callback.last().path, tmp_path / name)
    np.savez(tmp_path / "expected.npz", *trained.get_weights())
    assert forks_of().run(HERE / "open_plainly.py", tmp_path).strip() == "all opened"
    with zipfile.ZipFile(tmp_path / "full.keras") as archive:
        # With one more member, Keras would unpack the whole archive at each load.
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
    names = []
    with h5py.File(tmp_path / "weights.weights.h5") as file:
        file.visit(names.append)
    assert names and not any("optimizer" in name for name in names)
    assert [made[name].last().resumable for name in made] == [True, False, True]


@ONCE
def test_a_failed_save_does_not_end_training(tmp_path, monkeypatch, caplog):
    fail_on(monkeypatch, 2)
    callback = checkpoint(tmp_path)
    fit(quick(), callback)
    assert "step 8 was not saved: OSError: [Errno 28] No space left on device" in caplog.text
    assert steps(callback) == [(4, 1), (9, 2), (12, 3)], "what failed stays due"
    assert not list((tmp_path / ".run/staging").iterdir())


@ONCE
def test_a_failed_save_raises_on_request_and_leaves_the_directory_free(tmp_path, monkeypatch):
    fail_on(monkeypatch, 2)
    with pytest.raises(CommitError, match="step 8 was not saved"):
        fit(quick(), checkpoint(tmp_path, on_error="raise"))
    fit(quick(), checkpoint(tmp_path), epochs=1)


@ONCE
def test_a_full_disk_is_noticed_before_hdf5_can_crash(tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
    callback = checkpoint(tmp_path, contents="weights")
    fit(quick(), callback, epochs=1)
    assert "No space left on device (" in caplog.text and callback.records() == []


@ONCE
def test_a_model_that_keras_cannot_save_is_one_clear_line(tmp_path, caplog):
    class Closed(keras.layers.Dense):
        def save_own_variables(self, store):
            raise NotImplementedError("\n\n  this layer keeps\n  all to itself\n\nwhatever one does\n")

    closed = keras.Sequential([keras.Input((64,)), Closed(10)], name="closed")
    closed.compile("sgd", "sparse_categorical_crossentropy")
    fit(closed, checkpoint(tmp_path), epochs=1)
    (found, *_) = [message for message in caplog.messages if "StoreError" in message]
    assert "StoreError: Keras cannot save 'closed': this layer keeps all to itself; older" in found


def test_final_is_the_state_that_fit_ended_with(tmp_path):
    trained = quick()
    trained.optimizer.learning_rate = 0.3
    callback = checkpoint(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=VAL)))
    # The callback comes first in the list, and still sees what the other one does.
    fit(trained, callback, keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True), epochs=9)
    assert same(trained, keras.saving.load_model(callback.final().path))
    assert same(trained, keras.saving.load_model(callback.best().path))
    assert callback.final() != callback.best()
    assert callback.resume_path() != str(callback.final().path), "restored weights are no place to train on from"


def test_averaged_weights_become_a_record_of_their_own(tmp_path):
    trained = model(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), run_eagerly=True)
    callback = checkpoint(tmp_path)
    fit(trained, callback, epochs=2)
    assert same(trained, keras.saving.load_model(callback.final().path))
    assert steps(callback) == [(4, 1), (8, 2), (8, 2)]
    assert [record.resumable for record in callback.records()] == [True, True, False]


def test_the_best_weights_are_restored_on_request(tmp_path):
    trained = quick()
    trained.optimizer.learning_rate = 0.3
    callback = checkpoint(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=VAL)), restore_best_weights=True)
    fit(trained, callback, epochs=4)
    assert same(trained, keras.saving.load_model(callback.best().path))
    assert updates(trained) == 16, "the optimizer stays where it is"


@ONCE
def test_a_metric_that_is_never_logged_is_an_error_at_the_first_epoch_end(tmp_path):
    callback = checkpoint(tmp_path, Policy(Improves(Metric("val_los", mode="min"))))
    logged = "accuracy, loss, val_accuracy, val_loss"
    with pytest.raises(MetricError, match=f"'val_los' was never logged; logged names: {logged}"):
        fit(quick(), callback)


@ONCE
def test_a_metric_of_a_later_validation_is_no_error(tmp_path):
    callback = checkpoint(tmp_path, Policy(Improves(VAL)))
    fit(quick(), callback, validation_freq=2)
    assert steps(callback) == [(8, 2), (12, 3)]
    with pytest.raises(MetricError, match="'val_loss' was never logged"):
        never = checkpoint(tmp_path / "none", Policy(Improves(VAL)))
        fit(quick(), never, validation_data=None, epochs=10, batch_size=64)


@ONCE
def test_a_policy_stops_training_at_an_epochs_end(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    policy = Policy(Every(epochs=1), stop=Reaches(Metric("loss", mode="min"), 100.0) | Patience(VAL, checks=9))
    trained, callback = quick(), checkpoint(tmp_path, policy)
    assert fit(trained, callback).epoch == [0]
    assert steps(callback) == [(4, 1)] and "stopping: loss reached" in caplog.text
    caplog.clear()
    assert fit(trained, callback).epoch == []
    assert "stopped before training: loss reached" in caplog.text


@dataclass(frozen=True)
class At(Stopping):
    """A user's rule that stops in mid-epoch."""

    calls: list

    def reasons(self, track_of, counts):
        self.calls.append(1)
        return ("enough",) if len(self.calls) >= 8 else ()


@pytest.mark.parametrize("batch_metrics", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stop_in_mid_epoch_ends_with_the_state_that_was_saved(tmp_path, batch_metrics):
    trained, callback = quick(), checkpoint(tmp_path, Policy(Every(epochs=1), stop=At([])), batch_metrics=batch_metrics)
    fit(trained, callback)
    assert updates(trained) == callback.final().step
    assert same(trained, keras.saving.load_model(callback.final().path))
    assert steps(callback) == [(4, 1), (updates(trained), 1)] and 4 < updates(trained) < 8
    assert callback.resume_path() == str(callback.final().path)


def test_an_epoch_that_another_callback_cuts_short_does_not_count(tmp_path):
    trained, callback = quick(), checkpoint(tmp_path)
    fit(trained, StopAt(6), callback)
    assert steps(callback) == [(4, 1), (6, 1)] and callback.final().step == 6
    assert callback.final().metrics == {}, "the metrics of half an epoch are none of an epoch's"


def test_with_batch_metrics_patience_still_counts_epochs(tmp_path):
    policy = Policy(Every(epochs=1), stop=Patience(Metric("loss", mode="max"), checks=2))
    callback = checkpoint(tmp_path, policy, batch_metrics=True)
    fit(quick(), callback, epochs=6)
    assert callback.last().epoch == 3 and "did not improve in 2 checks" in callback.last().reasons[-1]


def test_batch_metrics_reach_the_policy(tmp_path):
    policy = Policy(Improves(Metric("loss", mode="max", min_delta=1e-3, per="step")), KeepAll())
    callback = checkpoint(tmp_path, policy, batch_metrics=True)
    fit(quick(), callback, epochs=1)
    assert callback.records()[0].step == 1 and callback.records()[0].metrics["loss"] > 0


@pytest.mark.parametrize("batch_metrics", [False, True])
def test_asynchronous_dispatch_is_given_up_only_for_batch_metrics(tmp_path, batch_metrics):
    hook = checkpoint(tmp_path, batch_metrics=batch_metrics).on_train_batch_end
    assert getattr(hook, "_is_default", False) is not batch_metrics


def test_steps_are_updates_where_gradients_are_accumulated(tmp_path):
    trained = model(keras.optimizers.SGD(0.1, gradient_accumulation_steps=3), run_eagerly=BACKEND != "jax")
    callback = checkpoint(tmp_path, Policy(Every(steps=1), KeepAll()))
    fit(trained, callback)
    assert [record.step for record in callback.records()] == [1, 2, 3, 4] and updates(trained) == 4


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no steps_per_execution")
def test_steps_count_batches_where_several_make_an_execution(tmp_path):
    callback = checkpoint(tmp_path, Policy(Every(steps=2), KeepAll()))
    fit(model(steps_per_execution=3), callback, epochs=2)
    assert [record.step for record in callback.records()] == [3, 4, 7, 8]


@ONCE
def test_evaluating_and_predicting_save_nothing(tmp_path):
    trained, callback = quick(), checkpoint(tmp_path / "run")
    (x, y), _ = digits()
    trained.evaluate(x, y, callbacks=[callback], verbose=0)
    trained.predict(x, callbacks=[callback], verbose=0)
    assert not (tmp_path / "run").exists()
