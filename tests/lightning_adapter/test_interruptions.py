"""Signals and wishes from outside, on a real Trainer in a process of its own."""

import signal
import subprocess
import time

import pytest
from interrupted import CKPT, Training, wait_for

from ckpt_callbacks.store.manifest import Manifest

TRAINING = Training("lightning_adapter/train_interrupted.py")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return TRAINING.outcome(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "number, when, step",
    [(signal.SIGTERM, "step 12", 13), (signal.SIGUSR1, "step 3", 4), (signal.SIGTERM, "validation 20", 20)],
    ids=["SIGTERM", "SIGUSR1", "SIGTERM in validation"],
)
def test_a_signal_saves_the_last_finished_step_and_the_run_goes_on_exactly(
    tmp_path, uninterrupted, number, when, step
):
    child = TRAINING.start(tmp_path, 0.2)
    wait_for(child, when)
    child.send_signal(number)
    assert child.wait(60) == 128 + number
    last = Manifest.read(tmp_path).live()[-1]
    assert (last.step, last.status.value) == (step, "verified")
    assert "preemption" in last.reasons
    assert TRAINING.outcome(tmp_path) == uninterrupted


def test_a_second_signal_is_honoured_at_once(tmp_path):
    child = TRAINING.start(tmp_path, 5)
    wait_for(child, "step 0")
    child.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(4) == -signal.SIGTERM


def test_ckpt_save_makes_a_running_training_save(tmp_path):
    TRAINING.saves_on_demand(tmp_path, "step 3")
    assert not (tmp_path / "SAVE_NOW").exists()
    assert subprocess.run([CKPT, "save", tmp_path], capture_output=True).returncode == 1, "nothing runs there now"
