"""Signals and wishes from outside, on a real `fit` in a process of its own."""

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


@pytest.mark.parametrize(
    "number, code, when, step",
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, "step 5", 5),
        (signal.SIGTERM, 128 + signal.SIGTERM, "validation 8", 8),
        (signal.SIGINT, 1, "step 2", 2),
    ],
    ids=["SIGTERM", "SIGTERM in validation", "SIGINT"],
)
def test_a_signal_saves_the_last_finished_step_and_the_run_goes_on_exactly(tmp_path, number, code, when, step):
    whole = subprocess.run(
        [*COMMAND, tmp_path / "whole", "0"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    child = start(tmp_path / "cut", 0.5)
    wait_for(child, when)
    child.send_signal(number)
    assert child.wait(60) in (code, -number)
    last = Manifest.read(tmp_path / "cut").live()[-1]
    # the signal came while the step that follows `step` was about to begin: it is the last finished one, or the next
    assert last.step in (step, step + 1) and last.status.value == "verified" and "preemption" in last.reasons
    resumed = subprocess.run(
        [*COMMAND, tmp_path / "cut", "0"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]


def test_ckpt_save_makes_a_running_training_save(tmp_path):
    child = start(tmp_path, 0.3)
    ckpt = Path(sys.executable).with_name("ckpt")
    try:
        wait_for(child, "step 2")
        subprocess.run([ckpt, "save", tmp_path], check=True, capture_output=True)
        deadline = time.monotonic() + 20
        while not any("on demand" in record.reasons for record in Manifest.read(tmp_path).live()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
