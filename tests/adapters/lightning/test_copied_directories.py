"""A training run that copies its own run directory while it trains, as artifact loggers do."""

import os
import signal
import sys
from pathlib import Path

import pytest

from ckpt_callbacks import DirectoryInUse
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, fit
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
