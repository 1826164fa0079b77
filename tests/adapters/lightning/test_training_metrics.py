"""Metrics of training: of batches, of epochs, or of both under one name."""

import pytest
import torch

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, Mean, Metric, NonFinite, OnPreempt, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer
from tests.adapters.lightning.test_resuming_data import At, terminate
from tests.support.training import run_of

SAID = "count and compare single batches"


class Logs(Model):
    """Logs the number of batches so far."""

    def __init__(self, **how):
        super().__init__()
        self.how = how
        self.register_buffer("batches", torch.zeros(1))

    def training_step(self, batch, index):
        self.batches += 1
        self.log("x", self.batches.item(), **self.how)
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])


def train(dirpath, policy, *extra, resume=False, module=Logs, how=None, **settings):
    torch.manual_seed(1)
    callback = LightningCheckpoint(dirpath, policy)
    fitter = trainer(*extra, callback, **{"max_epochs": 4, "num_sanity_val_steps": 0, **settings})
    fitter.fit(module(**(how or {})), *loaders(), ckpt_path=callback.resume_path() if resume else None)
    return fitter, callback


X = Metric("x", mode="min")
BOTH = {"on_step": True, "on_epoch": True}


@pytest.mark.parametrize("how, checked, said", [
    (BOTH, 3, False),
    ({"on_step": False, "on_epoch": True}, 3, False),
    ({}, 3 / 10, True),
])  # fmt: skip
def test_patience_counts_what_is_logged(tmp_path, how, checked, said, caplog):
    """The value gets worse. Epochs count if the name has a value for each; otherwise batches, which is logged."""
    fitter, _ = train(tmp_path, Policy(Every(epochs=1), stop=Patience(X, checks=2)), how=how)
    assert fitter.global_step == 10 * checked
    assert caplog.text.count(SAID) == said


def test_a_batches_value_has_a_name_of_its_own(tmp_path, caplog):
    x = Metric("x_step", mode="max")
    _, callback = train(tmp_path, Policy(Improves(x), KeepAll(), best_by=x), how=BOTH, max_epochs=2)
    assert [record.metrics["x_step"] for record in callback.records()] == list(range(1, 21))
    assert [record.metrics.get("x") for record in callback.records() if "x" in record.metrics] == [5.5, 15.5]
    assert SAID not in caplog.text


def test_smoothing_shows_that_batches_are_meant(tmp_path, caplog):
    x = Metric("x", mode="max", smoothing=Mean(3))
    _, callback = train(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=x)), max_epochs=1)
    assert callback.best().scores == {x.series: 9.0} and SAID not in caplog.text


@pytest.mark.parametrize("settings", [
    {}, pytest.param({"limit_train_batches": 1}, marks=pytest.mark.slow),
    pytest.param({"val_check_interval": 5}, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_last_batch_before_a_validation_or_an_end_counts(tmp_path, settings):
    _, callback = train(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=X), best_by=X), **settings)
    measured = run_of(callback).state.tracks[Policy(Every(epochs=1), best_by=X).tracks[X]].checks
    assert measured == 4 * settings.get("limit_train_batches", 10)
    assert callback.best().metrics["x"] == settings.get("limit_train_batches", 10)


class Breaks(Logs):
    """Logs NaN in the last batch of the first epoch."""

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        self.log("y", float("nan") if self.batches == self.at else 1.0, **self.how)
        return loss


class InMidEpoch(Breaks):
    at = 14


class AtAnEnd(Breaks):
    at = 10


@pytest.mark.parametrize("how", [{}, pytest.param(BOTH, marks=pytest.mark.slow)])
@pytest.mark.parametrize("module", [InMidEpoch, AtAnEnd])
def test_a_nan_counts_at_its_batch_whichever_rule_reads_the_metric(tmp_path, module, how):
    y = Metric("y", mode="max")
    fitter, _ = train(tmp_path, Policy(Every(epochs=1), best_by=y, stop=NonFinite("y")), module=module, how=how)
    assert fitter.global_step == module.at


@pytest.mark.parametrize("how", [{}, pytest.param(BOTH, marks=pytest.mark.slow)])
@pytest.mark.parametrize("hook, nth", [("on_validation_start", 3), ("on_train_batch_end", 12)])
def test_a_resume_counts_each_batch_once(tmp_path, how, hook, nth):
    """In particular the one before a validation, within which the checkpoint is taken."""
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll(), best_by=Metric(["x_step", "x"], mode="min"))
    _, whole = train(tmp_path / "whole", policy, how=how, val_check_interval=5)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", policy, At(hook, nth, terminate), how=how, val_check_interval=5)
    _, resumed = train(tmp_path / "cut", policy, resume=True, how=how, val_check_interval=5)
    assert run_of(resumed).state.tracks == run_of(whole).state.tracks
    epochs = [record.metrics for record in resumed.records() if "preemption" not in record.reasons]
    assert epochs == [record.metrics for record in whole.records()]
