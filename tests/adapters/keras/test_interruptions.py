"""Signals and save requests from outside, in a real `fit` in a separate process."""

import signal
import time

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.task import ONCE, checkpoint, fit, quick
from tests.support.interrupted import Training, wait_for
from tests.support.processes import ENVIRONMENT

TRAINING = Training("tests/adapters/keras")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return TRAINING.outcome(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "number, code, when, step",
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, "step 5", 5),
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, "validation 8", 8, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 128 + signal.SIGUSR1, "step 11", 11, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, -signal.SIGINT, "step 2", 2, marks=pytest.mark.slow),
    ],
    ids=["SIGTERM", "SIGTERM in validation", "SIGUSR1", "SIGINT"],
)
def test_a_signal_saves_the_last_finished_step_and_the_run_resumes_exactly(
    tmp_path, uninterrupted, number, code, when, step
):
    child = TRAINING.start(tmp_path, 0.3)
    wait_for(child, when)
    child.send_signal(number)
    assert child.wait(60) == code
    last = Manifest.read(tmp_path).live()[-1]
    # it came while the step after `step` was about to begin: saved before that one, or after it
    assert last.step in (step, step + 1) and last.status.value == "verified" and "preemption" in last.reasons
    assert TRAINING.outcome(tmp_path) == uninterrupted


@pytest.mark.slow
def test_a_signal_in_a_save_waits_for_it_and_for_nothing_else(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setitem(ENVIRONMENT, "SECONDS_A_SAVE", "1")
    child = TRAINING.start(tmp_path, 0)
    wait_for(child, "save 4")
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 128 + signal.SIGTERM
    [record] = Manifest.read(tmp_path).live()
    assert (record.step, record.epoch, record.status.value) == (4, 1, "verified") and "preemption" in record.reasons
    monkeypatch.setitem(ENVIRONMENT, "SECONDS_A_SAVE", "0")
    assert TRAINING.outcome(tmp_path) == uninterrupted


@ONCE
def test_a_signal_that_comes_once_all_is_trained_still_ends_the_process(tmp_path):
    class TooLate(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            signal.raise_signal(signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    callback = checkpoint(tmp_path, Policy(Every(epochs=1) | OnPreempt(), KeepAll()))
    with pytest.raises(SystemExit) as end:
        fit(quick(), TooLate(), callback, epochs=1)
    assert end.value.code == 128 + signal.SIGUSR1
    assert callback.final().step == 4 and signal.getsignal(signal.SIGUSR1) is before
    fit(quick(), checkpoint(tmp_path), epochs=2)  # the directory is free


@pytest.mark.slow
def test_a_save_that_outlasts_the_grace_period_is_abandoned_without_harm(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setitem(ENVIRONMENT, "SECONDS_A_SAVE", "12")
    monkeypatch.setitem(ENVIRONMENT, "GRACE", "1")
    child = TRAINING.start(tmp_path, 0)
    wait_for(child, "save 8")
    child.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert child.wait(60) == 128 + signal.SIGTERM and time.monotonic() - begun < 10
    assert [(r.step, r.status.value) for r in Manifest.read(tmp_path).live()] == [(4, "verified")]
    monkeypatch.setitem(ENVIRONMENT, "SECONDS_A_SAVE", "0")
    assert TRAINING.outcome(tmp_path) == uninterrupted


def test_ckpt_save_makes_a_running_training_save(tmp_path):
    TRAINING.saves_on_demand(tmp_path, "step 2")
