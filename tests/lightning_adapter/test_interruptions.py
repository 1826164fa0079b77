"""Signals and wishes from outside, on a real Trainer in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest

HERE = Path(__file__).parent
COMMAND = [sys.executable, str(HERE / "train_interrupted.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}


def start(dirpath, pause):
    return subprocess.Popen([*COMMAND, dirpath, str(pause)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def wait_for(child, line):
    for found in child.stdout:
        if found.startswith(line):
            return
    raise AssertionError(f"the training never came to {line!r}")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    done = subprocess.run(
        [*COMMAND, tmp_path_factory.mktemp("whole"), "0"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "number, code, when, step",
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, "step 12", 13),
        (signal.SIGUSR1, 128 + signal.SIGUSR1, "step 3", 4),
        (signal.SIGTERM, 128 + signal.SIGTERM, "validation 20", 20),
    ],
    ids=["SIGTERM", "SIGUSR1", "SIGTERM in validation"],
)
def test_a_signal_saves_the_last_finished_step_and_the_run_goes_on_exactly(
    tmp_path, uninterrupted, number, code, when, step
):
    child = start(tmp_path, 0.2)
    wait_for(child, when)
    child.send_signal(number)
    assert child.wait(60) == code
    manifest = Manifest.read(tmp_path)
    last = manifest.live()[-1]
    assert (last.step, last.status.value) == (step, "verified")
    assert "preemption" in last.reasons
    resumed = subprocess.run([*COMMAND, tmp_path, "0"], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert resumed.stdout.splitlines()[-1] == uninterrupted


def test_a_second_signal_is_honoured_at_once(tmp_path):
    child = start(tmp_path, 5)
    wait_for(child, "step 0")
    child.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(4) == -signal.SIGTERM


def test_ckpt_save_makes_a_running_training_save(tmp_path):
    child = start(tmp_path, 0.2)
    ckpt = Path(sys.executable).with_name("ckpt")
    try:
        wait_for(child, "step 3")
        subprocess.run([ckpt, "save", tmp_path], check=True, capture_output=True)
        deadline = time.monotonic() + 20
        while not any("on demand" in record.reasons for record in Manifest.read(tmp_path).live()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not (tmp_path / "SAVE_NOW").exists()
    finally:
        child.kill()
        child.wait()
    assert subprocess.run([ckpt, "save", tmp_path], capture_output=True).returncode == 1, "nothing runs there now"
