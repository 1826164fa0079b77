"""Run directories that are copied, also while the run trains, as artifact loggers do."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from ckpt_callbacks import DirectoryInUse
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer
from tests.support.command import ckpt
from tests.support.forks import forks_of

SCRIPT = Path(__file__).with_name("train_copying.py")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only POSIX record locks")
def test_it_keeps_the_directory_until_it_is_killed_though_a_worker_of_its_loader_lives_on(tmp_path):
    run_dir = tmp_path / "run"
    training = forks_of().start(SCRIPT, run_dir)
    said = next(line for line in training.stdout if line.startswith("copied")).split()
    worker = int(said[1])
    try:
        with pytest.raises(DirectoryInUse, match=f"process {training.pid}"):
            fit(run_dir, EACH_EPOCH)
        assert ckpt("doctor", run_dir).exit_code == 2
        copied = tmp_path / "run copied"
        assert LightningCheckpoint(copied, EACH_EPOCH).resume_path() == str(copied / "Model-000-4.ckpt")
        assert ckpt("save", copied).exit_code == 1, "nobody trains in the copy"
        asked = ckpt("save", run_dir)
        assert asked.exit_code == 0, asked.stderr
        training.kill()
        assert training.wait() == -signal.SIGKILL
        os.kill(worker, 0)
        (run_dir / "SAVE_NOW").unlink(missing_ok=True)
        assert ckpt("save", run_dir).exit_code == 1, "nobody trains any more"
        _, fitter, _ = fit(run_dir, EACH_EPOCH, max_epochs=1)
        assert fitter.global_step == 10
    finally:
        training.kill()
        os.kill(worker, signal.SIGKILL)


MISSING = "callbacks used to create the checkpoint need to be provided"


def test_a_copied_directory_is_resumed_without_a_false_warning(tmp_path, recwarn, caplog):
    fit(tmp_path / "a", max_epochs=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    module, fitter, ours = fit(tmp_path / "b", resume=True, max_epochs=2)
    assert fitter.global_step == 20 and [record.step for record in ours.records()] == [10, 20]
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    fresh = LightningCheckpoint(tmp_path / "c", EACH_EPOCH)
    trainer(fresh).test(module, loaders()[1], ckpt_path=str(fresh.last().path), verbose=False)
    assert not [warned for warned in recwarn if MISSING in str(warned.message)]
    assert "has no state of this callback" not in caplog.text


def test_two_directories_that_are_moved_together_are_known_by_their_names(tmp_path, recwarn, caplog):
    def train(folder, epochs):
        two = [LightningCheckpoint(folder / name, EACH_EPOCH) for name in ("x", "y")]
        trainer(*two, max_epochs=epochs).fit(Model(), *loaders(), ckpt_path=two[0].resume_path())
        return [[record.step for record in one.records()] for one in two]

    train(tmp_path / "a", 1)
    (tmp_path / "a").rename(tmp_path / "b")
    assert train(tmp_path / "b", 2) == [[10, 20], [10, 20]]
    assert not [warned for warned in recwarn if MISSING in str(warned.message)]
    assert "has no state of this callback" not in caplog.text


def test_a_callback_that_is_missing_is_still_named(tmp_path):
    fit(tmp_path / "a", extra=[LightningCheckpoint(tmp_path / "b", EACH_EPOCH)], max_epochs=1)
    with pytest.warns(UserWarning, match=MISSING):
        fit(tmp_path / "a", resume=True, max_epochs=1)
