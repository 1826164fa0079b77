"""`ModelCheckpoint` for Keras: the original's files, in one piece."""

import copy
import errno
import os
import pickle
import stat
import threading

import keras
import pytest

from ckpt_callbacks.keras import BackupAndRestore, KerasCheckpoint, ModelCheckpoint
from ckpt_callbacks.keras.drop_ins import model_files
from ckpt_callbacks.store import draft_folder
from tests.adapters.keras.task import ONCE, new_process
from tests.drop_ins.keras_files import files_below, fit, same_contents, tiny

SUFFIXES = {".keras": {}, ".weights.h5": {"save_weights_only": True}, ".h5": {}}


class Look(keras.callbacks.Callback):
    """Calls a function at the end of each epoch, with its number."""

    def __init__(self, look):
        super().__init__()
        self._look = look

    def on_epoch_end(self, epoch, logs=None):
        self._look(epoch)


def failing(error):
    def raised(*arguments):
        raise error

    return raised


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("background", [None, pytest.param(True, marks=pytest.mark.slow), False])
def test_files_hold_what_those_of_the_original_hold(tmp_path, suffix, background):
    trained = tiny()
    ours = ModelCheckpoint(f"{tmp_path}/ours-{{epoch}}{suffix}", background=background, **SUFFIXES[suffix])
    theirs = keras.callbacks.ModelCheckpoint(f"{tmp_path}/theirs-{{epoch}}{suffix}", **SUFFIXES[suffix])
    fit(trained, ours, theirs, epochs=2)
    assert files_below(tmp_path) == [f"{who}-{n}{suffix}" for who in ("ours", "theirs") for n in (1, 2)]
    for n in (1, 2):
        if suffix == ".h5":  # which only Keras itself writes
            found, wanted = (
                keras.saving.load_model(tmp_path / f"{who}-{n}.h5", compile=False).get_weights()
                for who in ("ours", "theirs")
            )
            assert found == wanted
        else:
            assert same_contents(tmp_path / f"ours-{n}{suffix}", tmp_path / f"theirs-{n}{suffix}")


@pytest.mark.slow
def test_a_file_is_written_in_the_background_if_nothing_can_look_at_it(tmp_path, monkeypatch):
    threads = []
    swap = draft_folder.swap
    monkeypatch.setattr(draft_folder, "swap", lambda *paths: (threads.append(threading.current_thread()), swap(*paths)))

    def in_background(*others, kind=ModelCheckpoint, **settings):
        threads.clear()
        fit(tiny(), kind(tmp_path / "a.keras", **settings), *others, epochs=1)
        return [one is not threading.main_thread() for one in threads]

    assert in_background() == [True]
    assert in_background(keras.callbacks.ReduceLROnPlateau(), BackupAndRestore(tmp_path / "b"))[0]
    assert in_background(background=False) == [False]
    assert in_background(verbose=1) == [False]  # it prints that the file is finished
    assert in_background(keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)) == [False]
    assert in_background(Look(print), background=True) == [True]
    assert in_background(kind=type("Own", (ModelCheckpoint,), {})) == [False]


def test_the_value_waits_for_its_file(tmp_path, monkeypatch):
    begun, may_go_on = threading.Event(), threading.Event()
    swap = draft_folder.swap

    def slow(*paths):
        begun.set()
        may_go_on.wait(30)
        swap(*paths)

    monkeypatch.setattr(draft_folder, "swap", slow)
    ours, found = ModelCheckpoint(tmp_path / "a.keras", "loss", save_best_only=True, mode="min", background=True), []

    def look(epoch):
        assert begun.wait(30) and not (tmp_path / "a.keras").exists()
        threading.Timer(0.1, may_go_on.set).start()
        found.append((ours.best, (tmp_path / "a.keras").exists()))

    fit(tiny(), ours, Look(look), epochs=1)
    assert [(best is not None, exists) for best, exists in found] == [(True, True)]


@pytest.mark.slow
@pytest.mark.parametrize("background", [True, False])
def test_a_full_disk_leaves_the_old_file_and_training_goes_on(tmp_path, monkeypatch, caplog, background):
    path, trained = tmp_path / "best.keras", tiny()
    ours = ModelCheckpoint(path, "loss", save_best_only=True, mode="min", background=background)
    fit(trained, ours, epochs=1)
    before, best = path.read_bytes(), ours.best
    monkeypatch.setattr(draft_folder, "swap", failing(OSError(errno.ENOSPC, "No space left on device")))
    fit(trained, ours, epochs=1)
    assert path.read_bytes() == before and ours.best == best and files_below(tmp_path) == ["best.keras"]
    assert "was not saved: No space left on device; the old file is untouched, and training continues" in caplog.text
    monkeypatch.undo()
    fit(trained, ours, epochs=1)  # the improvement is still due
    assert path.read_bytes() != before and ours.best < best


@pytest.mark.parametrize("background", [True, False])
def test_any_other_error_ends_training_with_the_old_value(tmp_path, monkeypatch, background):
    ours = ModelCheckpoint(
        tmp_path / "best.keras", "loss", save_best_only=True, mode="min", background=background,
        initial_value_threshold=99.0,
    )  # fmt: skip
    monkeypatch.setattr(draft_folder, "swap", failing(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        fit(tiny(), ours)
    assert ours.best == 99.0 and files_below(tmp_path) == []


def test_a_path_that_is_a_folder_is_refused_as_by_the_original(tmp_path):
    (tmp_path / "a.keras").mkdir()
    with pytest.raises(IOError, match="Please specify a non-directory filepath for ModelCheckpoint"):
        fit(tiny(), ModelCheckpoint(tmp_path / "a.keras"))


def test_a_write_protected_file_is_refused_as_by_the_original(tmp_path, monkeypatch):
    (tmp_path / "a.keras").write_bytes(b"kept")
    monkeypatch.setattr(draft_folder.os, "access", lambda *_: False)  # tests may run as root, who may do anything
    with pytest.raises(PermissionError):
        fit(tiny(), ModelCheckpoint(tmp_path / "a.keras"))
    assert (tmp_path / "a.keras").read_bytes() == b"kept"


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real.keras").write_bytes(b"")
    (tmp_path / "there" / "real.keras").chmod(0o640)
    (tmp_path / "a.keras").symlink_to("there/real.keras")
    fit(tiny(), ModelCheckpoint(tmp_path / "a.keras"), epochs=1)
    assert (tmp_path / "a.keras").is_symlink()
    assert stat.S_IMODE((tmp_path / "there" / "real.keras").stat().st_mode) == 0o640
    keras.saving.load_model(tmp_path / "a.keras")


@pytest.mark.slow
def test_what_a_crash_has_left_is_removed_but_not_what_is_being_written(tmp_path):
    left, used = draft_folder.DraftFolder(tmp_path / "old.keras"), draft_folder.DraftFolder(tmp_path / "new.keras")
    left.__enter__().path.write_bytes(b"part")
    left._lock.unlock()  # as when its process ends
    with used:
        fit(tiny(), ModelCheckpoint(tmp_path / "a.keras"), epochs=1)
        assert used.path.parent.is_dir() and not left.path.parent.exists()
    assert files_below(tmp_path) == ["a.keras"]


@pytest.mark.parametrize("killed_in", ["lock", "flush"])
def test_a_crash_leaves_nothing_that_is_not_removed(tmp_path, monkeypatch, killed_in):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(draft_folder, killed_in, crash)
        killed.setattr(draft_folder.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt), draft_folder.DraftFolder(tmp_path / "a.keras") as draft:
            draft.commit()
    assert len([*tmp_path.iterdir()]) == 1
    draft_folder.remove_left(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_new_folder_that_is_taken_for_one_that_was_left_is_created_again(tmp_path, monkeypatch, when):
    calls, lock = [], draft_folder.lock

    def lock_late(path):
        calls.append(path)
        if len(calls) > 1:  # another call is that of `remove_left`, or the second try
            return lock(path)
        if when == "before":
            draft_folder.remove_left(tmp_path)
            return lock(path)
        found = lock(path)
        os.unlink(path)
        return found

    monkeypatch.setattr(draft_folder, "lock", lock_late)
    with draft_folder.DraftFolder(tmp_path / "a.keras") as draft:
        draft.path.write_bytes(b"whole")
        draft_folder.remove_left(tmp_path)
        draft.commit()
    assert files_below(tmp_path) == ["a.keras"]


def test_no_glob_of_checkpoints_finds_what_is_being_written(tmp_path):
    with draft_folder.DraftFolder(tmp_path / "a.keras"):
        assert not [*tmp_path.glob("*.keras"), *tmp_path.glob("*.h5"), *tmp_path.glob("*.ckpt")]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_callback_can_be_copied_after_a_fit(tmp_path, copied):
    ours = ModelCheckpoint(tmp_path / "a.keras", "loss", save_best_only=True, mode="min")
    fit(tiny(), ours, epochs=1)
    ours.set_model(None)
    other = copied(ours)
    assert (other.best, other.filepath) == (ours.best, ours.filepath)
    fit(tiny(), other, epochs=1)


def test_a_model_that_saves_itself_does_so(tmp_path):
    class Own(keras.Sequential):
        def save(self, filepath, **how):
            (tmp_path / "own.txt").write_text(os.path.basename(filepath))

    trained = Own([keras.Input((1,)), keras.layers.Dense(1)])
    trained.compile("sgd", "mse", run_eagerly=True)
    fit(trained, ModelCheckpoint(tmp_path / "{epoch}.keras"), epochs=1)
    assert files_below(tmp_path) == ["own.txt"] and (tmp_path / "own.txt").read_text() == "1.keras"


def test_a_model_without_a_configuration_gets_keras_own_error(tmp_path):
    class Broken(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            raise NotImplementedError("no configuration")

    def broken():
        made = keras.Sequential([keras.Input((1,)), Broken(), keras.layers.Dense(1)])
        made.compile("sgd", "mse", run_eagerly=True)
        return made

    errors = []
    for kind in (keras.callbacks.ModelCheckpoint, ModelCheckpoint):
        with pytest.raises(Exception) as caught:
            fit(broken(), kind(tmp_path / "a.keras"), epochs=1)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1] and not (tmp_path / ".ckpt-draft").exists()


def test_an_overridden_hook_sees_the_file_at_once(tmp_path):
    class Own(ModelCheckpoint):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            keras.saving.load_model(self.filepath)

    fit(tiny(), Own(str(tmp_path / "a.keras")), epochs=2)


def test_a_url_is_left_to_keras(monkeypatch, caplog):
    written = []

    class Elsewhere(keras.Sequential):
        def save(self, filepath, **how):
            written.append(filepath)

    trained = Elsewhere([keras.Input((1,)), keras.layers.Dense(1)])
    trained.compile("sgd", "mse", run_eagerly=True)
    monkeypatch.setattr("keras.src.callbacks.model_checkpoint.file_utils.exists", lambda path: True)
    fit(trained, ModelCheckpoint("memory://bucket/{epoch}.keras"), epochs=2)
    assert written == ["memory://bucket/1.keras", "memory://bucket/2.keras"]
    assert caplog.text.count("is not a local file") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(KerasCheckpoint, marks=pytest.mark.slow), BackupAndRestore])
@pytest.mark.parametrize("swapped", [True, False])
def test_beside_what_resumes_the_best_value_is_not_forgotten(tmp_path, kind, swapped):
    def callbacks(ours):
        made = ModelCheckpoint if ours else keras.callbacks.ModelCheckpoint
        saver = made(tmp_path / "a.keras", "loss", save_best_only=True, mode="min")
        return saver, kind(str(tmp_path / "run"), **({"monitor": "loss"} if kind is KerasCheckpoint else {}))

    saver, resuming = callbacks(ours=swapped)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(trained=False), saver, resuming, keras.callbacks.LambdaCallback(on_epoch_begin=interrupt_in_epoch_2))
    again, resuming = callbacks(ours=True)
    begun = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: begun.append(again.best))
    new_process()
    fit(tiny(trained=False), again, resuming, watch)
    assert begun == [saver.best]


def interrupt_in_epoch_2(epoch, logs):
    if epoch == 2:
        raise KeyboardInterrupt


@ONCE
def test_what_keras_cannot_copy_is_written_by_keras_and_still_in_one_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files.KerasStaging, "copied", lambda *_: None)
    fit(tiny(), ModelCheckpoint(tmp_path / "a.keras"), epochs=2)
    assert files_below(tmp_path) == ["a.keras"]
    keras.saving.load_model(tmp_path / "a.keras")
