"""Metrics of training: of batches, of epochs, or of both under one name."""

import pytest
import torch
import torchmetrics

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, Mean, Metric, NonFinite, OnPreempt, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer
from tests.adapters.lightning.test_resuming_data import At, terminate
from tests.support.training import run_of

SAID = "compares only its last value before the end of an epoch or validation"


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


@pytest.mark.parametrize("per, how, settings, steps, said", [
    ("epoch", BOTH, {}, 30, False),
    ("epoch", {"on_step": False, "on_epoch": True}, {}, 30, False),
    ("epoch", {}, {}, 30, True),
    ("epoch", {}, {"val_check_interval": 5}, 15, True),
    ("step", {}, {}, 3, False),
    pytest.param("epoch", {}, {"limit_val_batches": 0}, 30, True, marks=pytest.mark.slow),
])  # fmt: skip
def test_patience_counts_epochs_and_validations_unless_steps_are_asked_for(
    tmp_path, per, how, settings, steps, said, caplog
):  # fmt: skip
    """The value gets worse with each batch."""
    x = Metric("x", mode="min", per=per)
    fitter, ours = train(tmp_path, Policy(Every(epochs=1), stop=Patience(x, checks=2)), how=how, **settings)
    assert fitter.global_step == steps
    assert caplog.text.count(SAID) == said
    assert f"did not improve in 2 {'steps' if per == 'step' else 'checks'} (best" in ours.last().reasons[-1]


class EveryFourth(Logs):
    """Logs only some batches, and not the last one of an epoch."""

    def log(self, name, value, **how):
        if value % 4 == 0:
            super().log(name, value, **how)


def test_a_value_of_some_batches_counts_once_an_epoch_but_saves_nothing(tmp_path):
    """It was measured at other weights than those of the checkpoint."""
    x = Metric("x", mode="max")
    policy = Policy(Every(steps=4) | Improves(x), KeepAll(), stop=Patience(x, checks=9), best_by=x)
    _, ours = train(tmp_path, policy, module=EveryFourth, max_epochs=3)
    track = run_of(ours).state.tracks[policy.tracks[x]]
    assert (track.checks, track.best, track.latest) == (3, 28, None)  # batches 8, 20 and 28
    assert [record.step for record in ours.records() if "x improved to 20" in record.reasons] == [20]
    assert {record.step for record in ours.records() if record.metrics} == {4, 8, 12, 16, 20, 24, 28}


class LogsGroups(Logs):
    def log(self, name, value, **how):
        super().log(f"train/{name}" if name == "x" else name, value, **how)


class LogsObject(Logs):
    """Logs a metric object."""

    def __init__(self, **how):
        super().__init__(**how)
        self.mean = torchmetrics.MeanMetric()

    def log(self, name, value, **how):
        if name == "x":
            self.mean(value)
        super().log(name, self.mean if name == "x" else value, **how)


@pytest.mark.parametrize("module, name", [(Logs, "x"), (LogsGroups, "train/x"), (LogsObject, "x")])
def test_a_batches_value_has_a_name_of_its_own(tmp_path, module, name, caplog):
    x = Metric(f"{name}_step", mode="max", per="step")
    policy = Policy(Improves(x), KeepAll(), best_by=x)
    _, callback = train(tmp_path, policy, module=module, how=BOTH, max_epochs=2)
    assert [record.metrics[f"{name}_step"] for record in callback.records()] == list(range(1, 21))
    assert [record.metrics.get(name) for record in callback.records() if name in record.metrics] == [5.5, 15.5]
    assert SAID not in caplog.text


def test_the_values_of_batches_are_smoothed_if_they_are_asked_for(tmp_path, caplog):
    x = Metric("x", mode="max", smoothing=Mean(3), per="step")
    _, callback = train(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=x)), max_epochs=1)
    assert callback.best().scores == {x.series: 9.0} and SAID not in caplog.text


@pytest.mark.parametrize("settings", [
    {}, pytest.param({"limit_train_batches": 1}, marks=pytest.mark.slow),
    pytest.param({"val_check_interval": 5}, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_last_batch_before_a_validation_or_an_end_counts(tmp_path, settings):
    x = Metric("x", mode="min", per="step")
    _, callback = train(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=x), best_by=x), **settings)
    measured = run_of(callback).state.tracks[Policy(Every(epochs=1), best_by=x).tracks[x]].checks
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
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll(), best_by=Metric(["x_step", "x"], mode="min", per="step"))
    _, whole = train(tmp_path / "whole", policy, how=how, val_check_interval=5)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", policy, At(hook, nth, terminate), how=how, val_check_interval=5)
    _, resumed = train(tmp_path / "cut", policy, resume=True, how=how, val_check_interval=5)
    assert run_of(resumed).state.tracks == run_of(whole).state.tracks
    epochs = [record.metrics for record in resumed.records() if "preemption" not in record.reasons]
    assert epochs == [record.metrics for record in whole.records()]
