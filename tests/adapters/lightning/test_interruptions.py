"""Signals and save requests from outside, for a real Trainer in a separate process."""

import signal
import subprocess
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer
from tests.adapters.lightning.train_interrupted import LOADERS, train
from tests.support.forks import forks_of
from tests.support.interrupted import CKPT, Training, wait_for

HERE = Path(__file__).parent
TRAINING = Training("tests/adapters/lightning")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return {loader: train(tmp_path_factory.mktemp("whole"), loader=loader) for loader in LOADERS}


@pytest.mark.parametrize(
    "number, when, step, loader",
    [
        (signal.SIGTERM, "step 12", 13, "stateful"),
        pytest.param(signal.SIGTERM, "step 2", 3, "plain", marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, "step 3", 4, "stateful", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "validation 20 3", 20, "stateful", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "validation 20 3", 20, "plain", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "step 29", 30, "plain", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "save 20", 20, "plain", marks=pytest.mark.slow),
    ],
    ids=["at a step", "at batch 3 of 10", "SIGUSR1", "in a validation", "in a validation, plain", "in the last batch",
         "in a save"],
)  # fmt: skip
def test_a_signal_saves_the_last_finished_step_and_the_run_resumes_exactly(
    tmp_path, uninterrupted, number, when, step, loader
):
    child = TRAINING.start(tmp_path, 0.1, loader)
    wait_for(child, when)
    child.send_signal(number)
    said = child.stdout.read()
    assert child.wait(60) == 128 + number
    assert "validation 20 6" not in said, "a validation of 10 batches was waited for"
    last = Manifest.read(tmp_path).live()[-1]
    assert (last.step, last.status.value) == (step, "verified")
    assert "preemption" in last.reasons
    assert train(tmp_path, loader=loader) == uninterrupted[loader]


def test_an_early_stop_at_batch_3_of_10_resumes_exactly(tmp_path, uninterrupted):
    class StopAtBatch3(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 3

    _, fitter, callback = fit(tmp_path, extra=[StopAtBatch3()], num_sanity_val_steps=0, val_size=4)
    assert fitter.global_step == 3 and (callback.last().step, callback.last().epoch) == (3, 0)
    assert train(tmp_path) == uninterrupted["plain"]


def test_a_signal_that_comes_once_all_is_trained_still_ends_the_process(tmp_path):
    class TooLate(Callback):
        def on_train_end(self, *_):
            signal.raise_signal(signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    callback = LightningCheckpoint(tmp_path, Policy(Every(epochs=1) | OnPreempt(), KeepAll()))
    with pytest.raises(SystemExit) as end:
        trainer(TooLate(), callback, max_epochs=1).fit(Model(), *loaders())
    assert end.value.code == 128 + signal.SIGUSR1
    assert callback.final().step == 10 and signal.getsignal(signal.SIGUSR1) is before
    fit(tmp_path, resume=True, max_epochs=2)  # the directory is free


def test_a_save_that_outlasts_the_grace_period_is_abandoned_without_harm(tmp_path):
    child = forks_of().start(HERE / "train_gracelessly.py", tmp_path)
    assert child.wait(60) == 128 + signal.SIGTERM
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    assert callback.resume_path() == str(callback.last().path) and callback.last().step == 10
    fit(tmp_path, resume=True, max_epochs=2)  # and the directory is free


def test_a_second_signal_is_honoured_at_once(tmp_path):
    child = TRAINING.start(tmp_path, 30)
    wait_for(child, "step 0")
    child.send_signal(signal.SIGTERM)
    wait_for(child, "SIGTERM: saving at the next safe point")
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) in (128 + signal.SIGTERM, -signal.SIGTERM), "a step takes 30 seconds"


def test_ckpt_save_makes_a_running_training_save(tmp_path):
    TRAINING.saves_on_demand(tmp_path, "step 3")
    assert not (tmp_path / "SAVE_NOW").exists()
    assert subprocess.run([CKPT, "save", tmp_path], capture_output=True).returncode == 1, "nothing runs there now"
