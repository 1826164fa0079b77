"""Runs that resume wrongly with Keras' own callbacks, and correctly with this package (docs/peer-failures.md)."""

import warnings

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Policy
from ckpt_callbacks.store.digest import digest
from tests.adapters.keras.task import EACH_EPOCH, VAL, checkpoint, digits, fit, model, quick, same, updates
from tests.system.competitors.competitor import fails
from tests.system.competitors.keras_runs import Watch, fit_and_crash, seeds, wrong_labels


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the uninterrupted run of 6 epochs of 4 batches, and its callback."""
    trained, callback = quick(), checkpoint(tmp_path_factory.mktemp("whole"), Policy(Every(steps=3), KeepAll()))
    fit(trained, callback, epochs=6)
    return trained, callback


@pytest.mark.slow
def test_k1_the_best_is_remembered_over_a_restart(tmp_path):
    """Keras 17012: ``save_best_only`` forgets the best score, and overwrites the best file with a worse model."""
    policy, path = Policy(Improves(VAL), KeepBest(1, by=VAL)), tmp_path / "best.keras"
    fit(quick(), checkpoint(tmp_path / "ours", policy), epochs=2)
    best = checkpoint(tmp_path / "ours", policy).best()
    again = checkpoint(tmp_path / "ours", policy)
    history = fit(quick(), again, epochs=3, validation_data=wrong_labels()).history
    assert history["val_loss"] and history["val_loss"][0] > best.metrics["val_loss"]
    assert again.best() == best and digest(best.path) == (best.digest, best.size)

    for validation in (digits()[1], wrong_labels()):
        theirs = keras.callbacks.ModelCheckpoint(path, monitor="val_loss", mode="min", save_best_only=True)
        before = path.read_bytes() if path.exists() else None
        fit(quick(), theirs, epochs=1, validation_data=validation)
    fails("keras", path.read_bytes() != before)


@pytest.mark.slow
def test_k4_the_optimizer_goes_on_where_it_was(tmp_path, whole):
    """The documented way to resume, `load_weights` into a newly compiled model, drops the optimizer's state."""
    uninterrupted, _ = whole
    cut = checkpoint(tmp_path / "ours", EACH_EPOCH)
    fit(quick(), cut, epochs=3)
    before = cut.last()
    resumed = quick()
    fit(resumed, checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=6)
    assert (before.step, updates(resumed)) == (12, 24)
    assert same(resumed, uninterrupted)
    for ours, expected in zip(resumed.optimizer.variables, uninterrupted.optimizer.variables, strict=True):
        assert np.array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(expected)), ours.path

    path = tmp_path / "theirs.weights.h5"
    fit(quick(), keras.callbacks.ModelCheckpoint(path, save_weights_only=True), epochs=1)
    theirs = quick()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.load_weights(path)
    fails("keras", updates(theirs) == 0)


@pytest.mark.slow
def test_k5_random_layers_go_on_where_they_were(tmp_path, whole):
    """Keras 19796: no file holds the states of random layers, so dropout starts again with the same masks."""
    uninterrupted, _ = whole
    first = checkpoint(tmp_path / "ours", EACH_EPOCH)
    trained = quick()
    fit(trained, first, epochs=3)
    at_the_save, resumed, restored = seeds(trained), quick(), []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            restored.append(seeds(self.model))

    fresh = seeds(resumed)
    assert at_the_save and not np.array_equal(fresh[0], at_the_save[0])
    fit(resumed, Look(), checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=6)
    assert all(np.array_equal(a, b) for a, b in zip(restored[0], at_the_save, strict=True))
    assert same(resumed, uninterrupted)

    trained.save(tmp_path / "theirs.keras")
    theirs = keras.saving.load_model(tmp_path / "theirs.keras")
    fails("keras", not np.array_equal(seeds(theirs)[0], at_the_save[0]))


def siblings():
    """Return an EarlyStopping and a ReduceLROnPlateau that are about to act after two epochs."""
    return [
        keras.callbacks.EarlyStopping("val_loss", mode="min", patience=3, min_delta=1e9),
        keras.callbacks.ReduceLROnPlateau("val_loss", mode="min", patience=3, min_delta=1e9, factor=0.5),
    ]


@pytest.mark.slow
def test_k6_early_stopping_and_reduce_lr_on_plateau_go_on_counting(tmp_path):
    """Keras 14862, 9462: both forget their counts on resume, so a plateau starts from its beginning each time."""
    whole, watch = quick(), Watch()
    fit(whole, *siblings(), watch, checkpoint(tmp_path / "whole", EACH_EPOCH), epochs=9)
    assert watch.epochs == [0, 1, 2, 3] and watch.rates[-1] < watch.rates[0], "reduced, and then stopped"
    fit_and_crash(10, *siblings(), checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=9)
    resumed, rest = quick(), Watch()
    fit(resumed, *siblings(), rest, checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=9)
    assert (rest.epochs, rest.rates) == (watch.epochs[2:], watch.rates[2:])
    assert same(resumed, whole)

    backup = [keras.callbacks.BackupAndRestore(tmp_path / "theirs", delete_checkpoint=False) for _ in range(2)]
    fit_and_crash(10, *siblings(), backup[0], epochs=9)
    theirs = Watch()
    fit(quick(), *siblings(), theirs, backup[1], epochs=9)
    fails("keras", theirs.epochs != watch.epochs[2:])


@pytest.mark.slow
def test_k7_a_second_interruption_resumes_where_the_first_one_led(tmp_path, whole):
    """BackupAndRestore with ``save_freq=3``: after a second interruption the run is at epoch 0 again.

    Its weights and the file with their position are also not committed together.
    """
    uninterrupted, _ = whole
    policy = Policy(Every(steps=3), KeepLast(2))
    reached = []
    for batches in (10, 5):
        callback = checkpoint(tmp_path / "ours", policy)
        fit_and_crash(batches, callback, epochs=6)
        callback.wait()
        reached.append(callback.last().step)
    assert reached == [9, 12], "batch 10 and, from 9 on, batch 14 were the last ones"
    last, watch = quick(), Watch()
    fit(last, watch, checkpoint(tmp_path / "ours", policy), epochs=6)
    assert watch.epochs[0] == 3
    assert same(last, uninterrupted) and updates(last) == 24

    settings = {"save_freq": 3, "delete_checkpoint": False}
    for batches in (10, 4):
        fit_and_crash(batches, keras.callbacks.BackupAndRestore(tmp_path / "theirs", **settings), epochs=6)
    watch = Watch()
    fit(quick(), watch, keras.callbacks.BackupAndRestore(tmp_path / "theirs", **settings), epochs=6)
    fails("keras", watch.epochs[0] == 0)


@pytest.mark.slow
def test_k11_a_sequential_model_gets_its_weights_back_and_a_rerun_is_no_error(tmp_path):
    """Keras 23251, 23609: OrbaxCheckpoint gives a Sequential model random weights, without a message.

    It also swallows errors at the end, and raises if a script runs again in the same directory. Orbax is not a
    dependency, so this tests only this package.
    """
    trained = model(built=False, run_eagerly=True)
    fit(trained, checkpoint(tmp_path, EACH_EPOCH), epochs=2)
    again, watch = model(built=False, run_eagerly=True, seed=8), Watch()
    callback = checkpoint(tmp_path, EACH_EPOCH)
    fit(again, watch, callback, epochs=2)
    assert watch.epochs == [] and same(again, trained), "nothing was left to train, and no error"
    assert same(keras.saving.load_model(callback.last().path), trained)
    fit(model(built=False, run_eagerly=True, seed=9), checkpoint(tmp_path, EACH_EPOCH), watch, epochs=3)
    assert watch.epochs == [2]
