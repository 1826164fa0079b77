"""Signals and wishes from outside, on a real `fit` in a process of its own."""

import signal

import pytest
from interrupted import Training, wait_for

from ckpt_callbacks.store.manifest import Manifest

TRAINING = Training("keras_adapter/train_interrupted.py")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return TRAINING.outcome(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "number, code, when, step",
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, "step 5", 5),
        (signal.SIGTERM, 128 + signal.SIGTERM, "validation 8", 8),
        (signal.SIGINT, -signal.SIGINT, "step 2", 2),
    ],
    ids=["SIGTERM", "SIGTERM in validation", "SIGINT"],
)
def test_a_signal_saves_the_last_finished_step_and_the_run_goes_on_exactly(
    tmp_path, uninterrupted, number, code, when, step
):
    child = TRAINING.start(tmp_path, 0.5)
    wait_for(child, when)
    child.send_signal(number)
    assert child.wait(60) == code
    last = Manifest.read(tmp_path).live()[-1]
    # it came while the step behind `step` was about to begin: saved before that one, or behind it
    assert last.step in (step, step + 1) and last.status.value == "verified" and "preemption" in last.reasons
    assert TRAINING.outcome(tmp_path) == uninterrupted


def test_ckpt_save_makes_a_running_training_save(tmp_path):
    TRAINING.saves_on_demand(tmp_path, "step 2")
