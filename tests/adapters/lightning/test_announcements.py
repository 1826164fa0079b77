"""The lines of a run about its beginning and its end."""

import logging
import os
import signal

import pytest
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.task import VAL, Model, fit, loaders, trainer

POLICY = Policy(Every(epochs=1) | OnPreempt(), KeepAll(), best_by=VAL)


class Interrupt(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("resume", ["auto", pytest.param("never", marks=pytest.mark.slow)])
def test_a_run_announces_its_start_its_interruption_and_its_resume(tmp_path, caplog, resume):
    caplog.set_level(logging.INFO)
    how = "run the same command to resume" if resume == "auto" else "pass resume='auto' to resume"
    with pytest.raises(SystemExit):
        fit(tmp_path, POLICY, extra=[Interrupt()], arguments={"resume": resume})
    start = f"{tmp_path}: a new run begins; saves: every 1 epoch or preemption; the best by val_loss; "
    assert f"{start}if it is interrupted, {how}" in caplog.messages
    assert f"saved {tmp_path / 'Model-001-13.ckpt'} (step 13); {how}" in caplog.messages
    caplog.clear()
    for _ in range(2):
        process_fits._fits.clear()  # as in a new process
        fit(tmp_path, POLICY, resume=resume == "never", arguments={"resume": resume}, max_epochs=2)
    assert f"resumed from {tmp_path / 'Model-001-13.ckpt'}, at step 13, epoch 1" in caplog.messages
    assert "a new run begins" not in caplog.text
    end = "nothing left to train; the run ended at step 20, after 2 of 2 epochs; to train more, raise max_epochs"
    assert caplog.text.count(f"{end}; to begin again, pass resume='never' and no ckpt_path") == 1


def test_a_later_fit_that_asks_for_no_checkpoint_is_not_said_to_resume_itself(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    callback = LightningCheckpoint(tmp_path, POLICY)
    trainer(callback, max_epochs=1).fit(Model(), *loaders(), ckpt_path="last")
    assert "if it is interrupted, run the same command to resume" in caplog.text
    caplog.clear()
    with pytest.raises(SystemExit):
        trainer(callback, Interrupt(), max_epochs=2).fit(Model(), *loaders())
    assert "(step 13); pass resume='auto' to resume" in caplog.text
    assert "run the same command" not in caplog.text


def test_the_advice_for_a_directory_of_the_logger_works(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    fit(None, POLICY, max_epochs=1, default_root_dir=tmp_path)
    where = str(tmp_path / "checkpoints")
    assert f"if it is interrupted, pass dirpath={where!r} and resume='auto' to resume" in caplog.text
    process_fits._fits.clear()  # as in a new process
    fit(where, POLICY, max_epochs=2, arguments={"resume": "auto"})
    assert f"resumed from {where}/Model-001-10.ckpt" in caplog.text


@pytest.mark.parametrize("resume", ["auto", pytest.param("never", marks=pytest.mark.slow)])
def test_a_directory_of_weights_is_named_where_training_starts_from_scratch(tmp_path, caplog, resume):
    fit(tmp_path, POLICY, max_epochs=1, arguments={"contents": "weights"})
    assert "from scratch" not in caplog.text
    process_fits._fits.clear()  # as in a new process
    fit(tmp_path, POLICY, max_epochs=1, arguments={"resume": resume})
    assert caplog.text.count("holds only checkpoints that a run cannot be resumed from") == 1


def test_the_advice_is_not_the_same_command_where_it_resumes_less(tmp_path, caplog, resumes_less):
    caplog.set_level(logging.INFO)
    fit(tmp_path, POLICY, arguments={"resume": resumes_less}, max_epochs=1)
    assert "; if it is interrupted, pass resume='auto' to resume" in caplog.text
