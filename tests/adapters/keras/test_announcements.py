"""The lines of a run about its beginning and its end."""

import logging
import os
import signal
import traceback
from pathlib import Path

import keras
import pytest

import ckpt_callbacks
from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.task import ONCE, VAL, checkpoint, fit, quick

POLICY = Policy(Every(epochs=1) | OnPreempt(), KeepAll(), best_by=VAL)


class Interrupt(keras.callbacks.Callback):
    def __init__(self, at=(0, 2)):
        super().__init__()
        self.at = at

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@ONCE
def test_a_run_announces_its_start_its_interruption_and_its_resume(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), Interrupt(), checkpoint(tmp_path, POLICY))
    start = f"{tmp_path}: a new run begins; saves: every 1 epoch or preemption; the best by val_loss; "
    assert f"{start}if it is interrupted, run the same command to resume" in caplog.messages
    [saved] = [line for line in caplog.messages if line.endswith("); run the same command to resume")]
    caplog.clear()
    for _ in range(2):
        fit(quick(), checkpoint(tmp_path, POLICY), epochs=1)
    assert f"resumed from {saved.split()[1]}, at step {saved.split()[3][:-2]}, epoch 0" in caplog.messages
    end = "nothing left to train; the run ended at step 4, after 1 of 1 epochs; to train more, raise epochs"
    assert caplog.text.count(f"{end}; to begin again, pass resume='never'") == 1
    assert "a new run begins" not in caplog.text


@ONCE
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_test_batch_begin", "on_test_end", "on_epoch_end"])
def test_the_traceback_of_an_interrupt_has_one_frame_of_the_package(tmp_path, hook):
    interrupt = keras.callbacks.Callback()
    setattr(interrupt, hook, lambda *_, logs=None: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(quick(), interrupt, checkpoint(tmp_path, POLICY), epochs=2)
    files = [Path(frame.filename) for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert sum(path.is_relative_to(Path(ckpt_callbacks.__file__).parent) for path in files) == 1
    assert caught.value.__context__ is None and checkpoint(tmp_path, POLICY).last() is not None


@ONCE
def test_a_resume_in_mid_epoch_with_fewer_epochs_says_why_it_trains_nothing(tmp_path, caplog):
    policy = Policy(Every(steps=3), KeepAll())
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), Interrupt(at=(1, 3)), checkpoint(tmp_path, policy))
    fit(quick(), checkpoint(tmp_path, policy), epochs=1)
    end = "nothing left to train; the run ended at step 6, after 1 of 1 epochs; to train more, raise epochs"
    assert caplog.text.count(end) == 1


@pytest.mark.slow
@ONCE
def test_a_directory_of_weights_is_named_where_training_starts_from_scratch(tmp_path, caplog):
    fit(quick(), checkpoint(tmp_path, POLICY, contents="weights"), epochs=1)
    assert "from scratch" not in caplog.text
    fit(quick(), checkpoint(tmp_path, POLICY), epochs=1)
    assert caplog.text.count("holds only checkpoints that a run cannot be resumed from") == 1
    fit(quick(), checkpoint(tmp_path, POLICY), epochs=2)
    assert caplog.text.count("from scratch") == 1, "the full checkpoints are resumed from"


@ONCE
def test_the_path_of_a_file_and_a_value_that_is_not_finite_are_named_once(tmp_path, caplog):
    ours = checkpoint(tmp_path / "best.keras", POLICY)
    (named,) = [message for message in caplog.messages if "best.keras: is taken for the run directory" in message]
    assert named.endswith(f"such as {tmp_path / 'best'}")
    nan = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(val_loss=float("nan")))
    fit(quick(), nan, ours, epochs=2, batch_size=64)
    assert caplog.text.count("the metric 'val_loss' is nan at step 1; such a value never ranks") == 1


@ONCE
def test_the_advice_is_not_the_same_command_where_it_resumes_less(tmp_path, caplog, resumes_less):
    caplog.set_level(logging.INFO)
    fit(quick(), checkpoint(tmp_path, POLICY, resume=resumes_less), epochs=1)
    assert "; if it is interrupted, pass resume='auto' to resume" in caplog.text
