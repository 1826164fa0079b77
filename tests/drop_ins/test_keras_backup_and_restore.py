"""`BackupAndRestore` for Keras: exact resumes under the original's arguments."""

import copy
import json
import os

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, Policy
from ckpt_callbacks.keras import BackupAndRestore, KerasCheckpoint, ModelCheckpoint
from tests.adapters.keras.stops import At, fingerprint
from tests.adapters.keras.task import ONCE, epochs_of, fit, new_process, quick

SLOW = pytest.mark.slow
STEPS = 4  # of an epoch


def interrupt(callback):
    raise KeyboardInterrupt


def at(step):
    return At("on_train_batch_end", step, interrupt)


@pytest.fixture(scope="module")
def whole():
    trained = quick()
    fit(trained)
    return fingerprint(trained)


@pytest.mark.parametrize("save_freq", ["epoch", *(pytest.param(batches, marks=SLOW) for batches in (1, 3))])
@pytest.mark.parametrize("same", ["model and callback", pytest.param("nothing", marks=SLOW)])
def test_a_run_that_is_interrupted_again_and_again_ends_with_the_same_weights(tmp_path, whole, save_freq, same):
    def callback():
        new_process()
        return BackupAndRestore(tmp_path / "backup", save_freq)

    model, backup = quick(), callback()
    for step in (6, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            fit(model, backup, at(step))
        if same == "nothing":
            model, backup = quick(), callback()
    fit(model, backup)
    assert fingerprint(model) == whole
    assert (backup._current_epoch, os.listdir(tmp_path)) == (3, [])


@SLOW
@pytest.mark.parametrize("order", [1, -1])
def test_beside_another_checkpoint_of_this_package_in_any_order(tmp_path, whole, order):
    def callbacks():
        new_process()
        return [KerasCheckpoint(tmp_path / "run", Policy(Every(epochs=1))), BackupAndRestore(tmp_path / "backup", 3)]

    with pytest.raises(KeyboardInterrupt):
        fit(quick(), *callbacks()[::order], at(6))
    assert len(os.listdir(tmp_path / "backup")) > 1
    model = quick()
    fit(model, *(ours := callbacks())[::order])
    assert fingerprint(model) == whole and os.listdir(tmp_path) == ["run"]
    assert ours[0].final().step == 3 * STEPS


@SLOW
def test_the_original_loses_what_came_after_the_last_epoch(tmp_path, whole):
    model = quick()
    with pytest.raises(KeyboardInterrupt):
        fit(model, keras.callbacks.BackupAndRestore(tmp_path / "backup", 1), at(6))
    model = quick()
    fit(model, keras.callbacks.BackupAndRestore(tmp_path / "backup", 1))
    assert fingerprint(model) != whole


@SLOW
def test_each_fit_continues_from_its_backup_as_with_the_original(tmp_path):
    kept = {"delete_checkpoint": False}
    for kind in (keras.callbacks.BackupAndRestore, BackupAndRestore):
        callback, trained = kind(tmp_path / kind.__module__, **kept), quick()
        assert epochs_of(trained, callback, epochs=2) == [0, 1]
        assert epochs_of(trained, callback, epochs=2) == []
        assert epochs_of(trained, callback, epochs=3) == [2]
        assert epochs_of(quick(), kind(tmp_path / kind.__module__, **kept), epochs=4) == [3]


@SLOW
@ONCE
def test_models_of_several_folds_are_trained_one_after_the_other(tmp_path):
    callback = BackupAndRestore(tmp_path / "backup")
    for fold in range(2):
        assert epochs_of(quick(seed=fold), callback) == [0, 1, 2]


@SLOW
@pytest.mark.parametrize(("double", "count"), [(False, 1), (True, 2)])
def test_one_or_two_backups_are_kept(tmp_path, double, count):
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), BackupAndRestore(tmp_path / "backup", double_checkpoint=double), at(3 * STEPS))
    new_process()
    callback = BackupAndRestore(tmp_path / "backup", double_checkpoint=double, delete_checkpoint=False)
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), callback, At("on_train_batch_end", 1, interrupt))
    backups = [path for path in (tmp_path / "backup").glob("*.keras") if not path.is_symlink()]
    assert len(backups) == count
    if double:
        max(backups, key=lambda path: path.stat().st_mtime_ns).write_bytes(b"damaged")
        new_process()
        assert epochs_of(quick(), BackupAndRestore(tmp_path / "backup")) == [1, 2]


@SLOW
def test_other_files_in_the_folder_stay(tmp_path, caplog):
    (tmp_path / "notes.txt").write_text("kept")
    saver = ModelCheckpoint(tmp_path / "best.keras", "loss", save_best_only=True, mode="min")
    fit(quick(), BackupAndRestore(tmp_path), saver)
    assert sorted(os.listdir(tmp_path)) == ["best.keras", "notes.txt"]
    assert "stays, because it holds other files; its backups are deleted" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("save_freq", "done"), [("epoch", 8), pytest.param(3, 9, marks=SLOW)])
def test_a_backup_of_the_original_is_taken_over(tmp_path, save_freq, done):
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq), at(2 * STEPS + 1))
    found = json.loads((tmp_path / "backup" / "training_metadata.json").read_text())
    assert found["epoch"] == 2
    new_process()
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), BackupAndRestore(tmp_path / "backup", 1), at(3))
    new_process()
    callback = BackupAndRestore(tmp_path / "backup")  # from its own backup, which is newer
    trained = quick()
    assert epochs_of(trained, callback) == [2]
    assert int(trained.optimizer.iterations) == done + STEPS
    assert os.listdir(tmp_path) == []


@SLOW
def test_a_newer_backup_of_the_original_is_taken_over_again(tmp_path):
    backup = tmp_path / "backup"
    for kind, step in ((BackupAndRestore, STEPS + 1), (keras.callbacks.BackupAndRestore, 2 * STEPS + 1)):
        new_process()
        with pytest.raises(KeyboardInterrupt):
            fit(quick(), kind(backup), at(step))
    new_process()
    assert epochs_of(quick(), BackupAndRestore(backup)) == [2]


@SLOW
@pytest.mark.parametrize("save_freq", ["epoch", pytest.param(3, marks=SLOW)])
def test_the_original_goes_on_from_a_backup_that_is_handed_back(tmp_path, save_freq):
    ours, backup = BackupAndRestore(tmp_path / "backup", save_freq), tmp_path / "backup"
    assert ours.hand_back() is None
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), ours, at(2 * STEPS + 2))
    del ours
    (backup / ".ckpt-draft-of-a-kill").mkdir()
    assert BackupAndRestore(backup, save_freq).hand_back() == str(backup / "latest.weights.h5")
    assert not [*backup.glob(".ckpt-draft-*")]
    new_process()
    trained = quick()
    begun = []
    watch = At("on_epoch_begin", 1, lambda _: begun.append(int(trained.optimizer.iterations)))
    assert epochs_of(trained, keras.callbacks.BackupAndRestore(backup), watch) == [2]
    assert begun == [2 * STEPS if save_freq == "epoch" else 9]
    assert os.listdir(tmp_path) == []


@SLOW
def test_in_a_training_loop_of_ones_own(tmp_path):
    def train(stop_after=None):
        new_process()
        model = quick()
        callbacks = keras.callbacks.CallbackList(
            [BackupAndRestore(tmp_path / "backup")], model=model, epochs=3, steps=1, verbose=0
        )
        callbacks.on_train_begin()
        begun = []
        for epoch in range(model._initial_epoch or 0, 3):
            begun.append(epoch)
            callbacks.on_epoch_begin(epoch)
            callbacks.on_train_batch_begin(0)
            logs = model.train_on_batch(*batch(), return_dict=True)
            callbacks.on_train_batch_end(0, logs)
            callbacks.on_epoch_end(epoch, logs)
            if epoch == stop_after:
                return begun
        callbacks.on_train_end()
        return begun

    assert train(stop_after=1) == [0, 1]
    assert train() == [2]
    assert os.listdir(tmp_path) == []


def batch():
    return np.ones((2, 64), "float32"), np.zeros(2)


@SLOW
@ONCE
def test_a_copy_has_no_part_in_the_fit(tmp_path):
    callback = BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    fit(quick(), callback, epochs=1)
    callback.set_model(None)
    assert epochs_of(quick(), copy.deepcopy(callback), epochs=2) == [1]


@pytest.mark.slow
@ONCE
def test_a_url_is_left_to_keras(monkeypatch, caplog):
    callback = BackupAndRestore("memory://bucket/run", delete_checkpoint=False)
    monkeypatch.setattr(callback, "_load_model", lambda: None)
    saved = []
    monkeypatch.setattr(keras.callbacks.BackupAndRestore, "_save_model", lambda self: saved.append(self._current_epoch))
    fit(quick(), callback)
    assert saved == [1, 2, 3] and "is not a local folder" in caplog.text
