"""``ckpt adopt`` in directories that Keras' own callbacks wrote."""

import json
import shutil

import h5py
import keras
import numpy as np
import pytest
import torch

from ckpt_callbacks import Every, KeepLast, Policy, open_run
from ckpt_callbacks.keras import BackupAndRestore, KerasCheckpoint, ModelCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.units import rough_size
from tests.adapters.keras.task import fit, quick
from tests.cli.command_line import ckpt
from tests.drop_ins import keras_files

Original = keras.callbacks.ModelCheckpoint


class Interrupt(keras.callbacks.Callback):
    """An interruption at the beginning of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._epoch:
            raise KeyboardInterrupt


def back_up(folder, epochs):
    """Train with Keras' own BackupAndRestore until an interruption."""
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False), Interrupt(epochs), epochs=9)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    dirpath = tmp_path_factory.mktemp("saved")
    names = ("{epoch}.keras", "{epoch}.weights.h5", "legacy.h5")
    callbacks = [Original(dirpath / name, save_weights_only="weights" in name) for name in names]
    keras_files.fit(keras_files.tiny(trained=False), *callbacks, epochs=2)
    return dirpath


@pytest.fixture
def run_dir(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def known(dirpath):
    """Return what the records say, by file."""
    return {r.file: (r.step, r.epoch, r.contents, r.resumable) for r in Manifest.read(dirpath).live()}


@pytest.mark.filterwarnings("ignore")
def test_the_records_say_what_the_files_say(run_dir):
    bare = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    bare.save(run_dir / "bare.keras")
    bare.save_weights(run_dir / "bare.weights.h5")
    (run_dir / "text.keras").write_text("no checkpoint")
    with h5py.File(run_dir / "data.h5", "w") as file:  # of somebody else
        file["vars"] = np.ones(3)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    code, _, err = ckpt("adopt", run_dir)
    assert code == 1 and err.startswith(f"Warning: {run_dir / 'text.keras'}: is not a readable Keras archive: ")
    assert len(err.splitlines()) == 1
    assert known(run_dir) == {
        "bare.keras": (0, 0, "weights", False),
        "bare.weights.h5": (0, 0, "weights", False),
        "1.keras": (2, 0, "full", False),
        "1.weights.h5": (2, 0, "full", False),
        "2.keras": (4, 0, "full", False),
        "2.weights.h5": (4, 0, "full", False),
        "legacy.h5": (4, 0, "full", False),
    }
    assert {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()} == before
    assert ckpt("verify", run_dir)[0] == ckpt("ls", run_dir)[0] == 0
    assert open_run(run_dir).last().step == 4 and open_run(run_dir).resume_path() is None


def test_what_the_files_do_not_say_is_shown_nowhere(run_dir):
    bare = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    bare.save_weights(run_dir / "bare.weights.h5")
    _, out, _ = ckpt("adopt", run_dir)
    assert f"{run_dir / '1.keras'}: step 2, not resumable; recorded\n" in out
    assert f"{run_dir / 'bare.weights.h5'}: not resumable; recorded\n" in out
    assert [record.unknown for record in Manifest.read(run_dir).live()] == [("step", "epoch"), *[("epoch",)] * 5]
    for command in (["ls"], ["log"], ["show", "1.keras"], ["diff", "1.keras", "2.keras"]):
        code, out, _ = ckpt(command[0], run_dir, *command[1:])
        assert code == 0 and "epoch" not in out, command
    assert "epoch" not in ckpt("ls", run_dir.parent)[1]
    assert "step" not in ckpt("show", run_dir, "bare.weights.h5")[1]


def test_a_mirror_shows_no_step_that_is_not_known(tmp_path):
    run_dir, url = tmp_path / "run", f"file://{tmp_path}/mirror"
    run_dir.mkdir()
    bare = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    bare.save_weights(run_dir / "bare.weights.h5")
    ckpt("adopt", run_dir)
    assert ckpt("push", run_dir, url, "--all")[0] == 0
    code, out, _ = ckpt("pull", url, tmp_path / "new", "--record", "bare.weights.h5")
    size = rough_size((run_dir / "bare.weights.h5").stat().st_size)
    assert (code, out) == (0, f"{tmp_path}/new/bare.weights.h5: {size}, downloaded and verified\n")
    code, out, _ = ckpt("ls", url)
    assert code == 0 and "bare.weights.h5" in out and "step" not in out
    code, out, _ = ckpt("mirror", "status", run_dir)
    assert code == 0 and f"{tmp_path}/mirror" in out and "newest step" not in out
    assert "step" not in repr(open_run(run_dir).records()[0])
    for asked in (("show", run_dir, "0"), ("pull", url, tmp_path / "other", "--record", "0")):
        code, out, err = ckpt(*asked)
        assert (code, out) == (2, "") and "has no checkpoint '0'" in err


@pytest.mark.parametrize("command", ["ls", "doctor", "path"])
def test_a_folder_of_keras_is_told_to_be_adopted(run_dir, command):
    code, out, err = ckpt(command, run_dir, *(["best"] if command == "path" else []))
    assert (code, out) == (2, "") and not (run_dir / ".run").exists()
    assert err.endswith(
        f"; expected a run directory: `ckpt adopt {run_dir}` makes it one, with a record for each file of Keras\n"
    )


def test_ls_above_a_folder_of_keras_names_it(run_dir):
    above = run_dir.parent
    (above / "a").mkdir()
    (above / "a" / "data.h5").write_text("of somebody else")
    code, out, err = ckpt("ls", above)
    assert (code, out) == (2, "") and err == (
        f"Error: {above}: holds no run directory, but {run_dir} holds checkpoints: `ckpt adopt {run_dir}` makes it "
        "one, with a record for each file of Keras\n"
    )
    ckpt("adopt", run_dir)
    assert ckpt("ls", above)[0] == 0


def test_a_best_that_no_file_tells_can_be_named(run_dir):
    ckpt("adopt", run_dir)
    code, _, err = ckpt("path", run_dir, "best")
    assert code == 2 and err == (
        f"Error: {run_dir}: has no 'best' checkpoint yet: its checkpoints are files of Keras, which hold no metrics to "
        f"rank them by; to name one of them, run `ckpt tag {run_dir} ID NAME`\n"
    )
    assert ckpt("tag", run_dir, "2.keras", "chosen")[0] == 0
    assert ckpt("path", run_dir, "chosen")[1] == f"{run_dir / '2.keras'}\n"


def test_what_the_drop_in_has_written_is_adopted_in_words_that_are_true_of_it(tmp_path):
    keras_files.fit(keras_files.tiny(trained=False), ModelCheckpoint(tmp_path / "{epoch}-{loss:.2f}.keras"), epochs=2)
    assert ckpt("ls", tmp_path)[0] == 2
    _, out, _ = ckpt("adopt", tmp_path)
    assert out.endswith(
        f"{tmp_path}: 2 checkpoints recorded, without metrics, because the files say none; `ckpt ls {tmp_path}` lists "
        "them\n"
    )
    records = Manifest.read(tmp_path).live()
    assert [record.reasons for record in records] == [("adopted: a file of Keras",)] * 2
    assert not any(record.metrics for record in records)


def test_files_of_two_frameworks_are_refused(run_dir):
    torch.save({"pytorch-lightning_version": "2", "global_step": 1, "state_dict": {}}, run_dir / "a.ckpt")
    code, out, err = ckpt("adopt", run_dir)
    assert (code, out) == (2, "") and not (run_dir / ".run").exists()
    assert err == (
        f"Error: {run_dir}: holds a.ckpt of Lightning and legacy.h5 of Keras; expected files of one framework; move "
        "the others away\n"
    )


@pytest.mark.slow
def test_a_backup_says_its_epoch_and_the_drop_in_continues_from_it(tmp_path):
    back_up(tmp_path, 2)
    ckpt("adopt", tmp_path)
    assert known(tmp_path) == {"latest.weights.h5": (8, 2, "full", False)}
    assert json.loads((tmp_path / "training_metadata.json").read_text())["epoch"] == 2
    callback = BackupAndRestore(tmp_path, delete_checkpoint=False)
    history = fit(quick(), callback, epochs=3)
    assert history.epoch == [2]


def test_a_model_that_was_loaded_from_an_adopted_file_trains_on_in_the_directory(run_dir):
    ckpt("adopt", run_dir)
    before = known(run_dir)
    path = ckpt("path", run_dir, "2.keras")[1].strip()
    trained = keras.saving.load_model(path)
    callback = KerasCheckpoint(run_dir, Policy(Every(epochs=1), KeepLast(1)))
    keras_files.fit(trained, callback, epochs=1)
    assert callback.last().step == 2  # of the new run
    now = known(run_dir)
    assert now.items() >= before.items() and len(now) == len(before) + 1  # the rules delete nothing of the original
