"""A resume with nothing left to train, for one of several reasons."""

import re

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback, StochasticWeightAveraging, Timer

from ckpt_callbacks import EMA, Every, KeepAll, Metric, OnPreempt, Policy
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer, weights
from tests.adapters.lightning.test_resuming_data import At, terminate
from tests.support.command import ckpt

PHASE = "a new phase of training needs its own directory"


@pytest.mark.parametrize("batch", [30, pytest.param(35, marks=pytest.mark.slow)])
def test_a_second_phase_of_fewer_epochs_in_one_directory_is_refused_with_a_way_on(tmp_path, batch):
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
    with pytest.raises(SystemExit):
        fit(tmp_path, policy, extra=[At("on_train_batch_end", batch, terminate)], max_epochs=4)
    with pytest.raises(ResumeError, match=f"of epoch {3 + (batch > 30)}, and Trainer.max_epochs=2. counts.*{PHASE}"):
        fit(tmp_path, policy, resume=True, max_epochs=2)
    _, fitter, _ = fit(tmp_path, policy, resume=True, max_epochs=5)
    assert fitter.global_step == 50, "nothing was marked as ended by the refusal"


class Head(Model):
    """Trains its last layer only."""

    def __init__(self):
        super().__init__()
        self.net[0].requires_grad_(False)


@pytest.mark.parametrize("then, said", [(Model, True), pytest.param(Head, False, marks=pytest.mark.slow)])
def test_a_second_phase_that_trains_more_parameters_is_logged(tmp_path, then, said, caplog):
    for module in (Head(), then()):
        callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
        trainer(callback, max_epochs=1).fit(module, *loaders(), ckpt_path=callback.resume_path())
    assert "nothing left to train; the run ended at step 10" in caplog.text
    assert (PHASE in caplog.text) is said


def test_a_second_phase_of_fewer_steps_is_logged(tmp_path, caplog):
    fit(tmp_path, max_steps=12, max_epochs=-1)
    for steps, said in ((12, False), (5, True)):
        fit(tmp_path, resume=True, max_steps=steps, max_epochs=-1)
        assert (f"ended at step 12, beyond max_steps=5, which includes earlier fits; {PHASE}" in caplog.text) is said


class Passes(Callback):
    """Lets time pass, for Lightning's timer."""

    def on_train_batch_end(self, trainer, module, *_):
        if trainer.global_step == 12:
            timer = next(one for one in trainer.callbacks if isinstance(one, Timer))
            timer.load_state_dict({"time_elapsed": {"train": 60}})


def by_the_trainer(seconds):
    return {"max_time": {"seconds": seconds}}


def by_a_text(seconds):
    return {"max_time": f"00:00:{seconds // 60:02}:{seconds % 60:02}"}


def by_epochs(seconds):
    return {"extra": [Timer({"seconds": seconds}, interval="epoch")]}


@pytest.mark.parametrize("limit, step", [
    (by_the_trainer, 12), (by_epochs, 20), pytest.param(by_a_text, 12, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_resume_after_max_time_says_so_and_continues_with_a_longer_one(tmp_path, limit, step, caplog):
    """``max_time`` ends a run, mostly in mid-epoch; Lightning's timer counts the time of earlier fits."""

    def train(dirpath, *extra, resume=False, **settings):
        policy = Policy(Every(steps=5), KeepAll())
        return fit(dirpath, policy, extra=[*extra, *settings.pop("extra", ())], resume=resume, max_epochs=4, **settings)

    module, fitter, callback = train(tmp_path, Passes(), **limit(50))
    assert (fitter.global_step, callback.final().step, callback.final().resumable) == (step, step, True)
    again, fitter, _ = train(tmp_path, resume=True, **limit(50))
    assert fitter.global_step == step and torch.equal(weights(again), weights(module))
    said = rf"ended at step {step}, because max_time is used up: it includes earlier fits \(6\d s in total\)"
    assert re.search(said, caplog.text)
    more, fitter, _ = train(tmp_path, resume=True, **limit(300))
    assert fitter.global_step == 40
    whole, *_ = train(tmp_path / "whole")
    assert torch.equal(weights(more), weights(whole))


def test_another_policy_is_logged_and_recorded_for_the_command(tmp_path, caplog):
    fit(tmp_path, max_epochs=1)
    smoothed = Policy(Every(epochs=1), KeepAll(), best_by=Metric("val_loss", mode="min", smoothing=EMA(0.3)))
    _, _, callback = fit(tmp_path, smoothed, resume=True, max_epochs=1)
    assert callback.best() is None and len(callback.records()) == 1
    assert "best is no longer Model-001-10.ckpt, but none: no checkpoint can be ranked by ema(0.3)" in caplog.text
    assert "has no 'best' checkpoint yet: no checkpoint can be ranked by" in ckpt("show", tmp_path, "best").output
    assert "nothing is wrong" in ckpt("doctor", tmp_path, "--dry-run").output


class Normalized(Model):
    def __init__(self):
        super().__init__()
        self.net.insert(1, torch.nn.BatchNorm1d(8))


@pytest.mark.parametrize("directories", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_with_averages_and_batch_norm_has_one_epoch_more_and_can_be_started_again(tmp_path, directories):
    def train(leader):
        seed_everything(7, verbose=False)
        callbacks = [LightningCheckpoint(tmp_path / str(n), EACH_EPOCH) for n in range(directories)]
        module, averages = Normalized(), StochasticWeightAveraging(0.01, swa_epoch_start=1)
        fitter = trainer(averages, *callbacks, max_epochs=2)
        fitter.fit(module, *loaders(), ckpt_path=callbacks[leader].resume_path())
        return module.state_dict(), [callback.final().file for callback in callbacks]

    state, final = train(0)
    assert final == ["Normalized-003-21.ckpt"] * directories
    for leader in range(directories):
        again, finals = train(leader)
        assert finals == final and all(torch.equal(again[name], value) for name, value in state.items())
