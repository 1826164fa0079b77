"""Hooks of scripts in runs that are killed in mid-epoch, each of which ends like the uninterrupted one."""

import pickle

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler, StochasticWeightAveraging

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import VAL, Model, digest, loaders, trainer
from tests.support.variants import only_quick

STEPS = Policy(Every(steps=3), KeepAll())
ALL = Policy(Every(steps=3) | Every(epochs=1) | Improves(VAL), KeepAll())


class Averaged(Model):
    """Keeps averages of its weights, and draws random numbers wherever a test asks for it."""

    def __init__(self):
        super().__init__()
        self.averages = torch.nn.ParameterList(torch.nn.Parameter(p.detach().clone(), False) for p in self.parameters())

    def average(self):
        with torch.no_grad():
            for kept, parameter in zip(self.averages, self.net.parameters(), strict=True):
                kept.lerp_(parameter, 0.1)


class AveragesInBatchEnd(Averaged):
    def on_train_batch_end(self, *_):
        self.average()


class DrawsInBatchEnd(Model):
    def on_train_batch_end(self, *_):
        torch.rand(1)


class SchedulesInBatchEnd(Model):
    def lr_scheduler_step(self, scheduler, metric):
        pass

    def on_train_batch_end(self, *_):
        self.lr_schedulers().step()


class DrawsInValidationEnd(Model):
    def on_validation_end(self):
        torch.rand(1)


class ChangesWeightsInValidationEnd(Model):
    def on_validation_end(self):
        if not self.trainer.sanity_checking:
            with torch.no_grad():
                self.net[0].weight.mul_(0.99)


class DrawsInTrainStart(Model):
    def on_train_start(self):
        self.noise = torch.randn(16, 8)


class Anneals(Model):
    beta = 0.0

    def on_train_epoch_start(self):
        self.beta = 0.3 * self.current_epoch

    def training_step(self, batch, index):
        return super().training_step(batch, index) * (1 + self.beta)


class DrawsInEpochStart(Model):
    def on_train_epoch_start(self):
        self.order = torch.randperm(10)

    def training_step(self, batch, index):
        return super().training_step((batch[0][:, self.order], batch[1]), index)


class ShrinksInEpochStart(Model):
    """Changes weights and a learning rate, which must happen once, in a way that tensors do not notice."""

    def on_train_epoch_start(self):
        self.net[0].weight.data.mul_(0.9)
        self.optimizers().param_groups[0]["weight_decay"] += 0.01


class WithNorm(Model):
    def __init__(self):
        super().__init__()
        self.net.insert(1, torch.nn.BatchNorm1d(8))


class FreezesNorm(WithNorm):
    def on_train_epoch_start(self):
        self.net[1].eval()


class FreezesNormFromCallback(Callback):
    def on_train_epoch_start(self, trainer, module):
        module.net[1].eval()


class CountsEpochs(Callback):
    """Has a state that its hook changes, and that must not change twice."""

    def __init__(self):
        self.scale = 1.0

    def state_dict(self):
        return {"scale": self.scale}

    def load_state_dict(self, state):
        self.scale = state["scale"]

    def on_train_epoch_start(self, trainer, module):
        self.scale *= 0.5

    def on_before_optimizer_step(self, trainer, module, optimizer):
        for parameter in module.net.parameters():
            parameter.grad.mul_(self.scale)


def accumulates():
    return GradientAccumulationScheduler({0: 1, 1: 2})


def averages():
    return StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, annealing_epochs=2)


def train(dirpath, module, others, policy, crash=None, resume=False, **settings):
    lightning.seed_everything(7, verbose=False)
    model, ckpt = module(), LightningCheckpoint(dirpath, policy)
    beside = [other() for other in others] + ([] if crash is None else [Crash(crash)])
    fitter = trainer(*beside, ckpt, **{"max_epochs": 4, **settings})
    fitter.fit(model, *loaders(), ckpt_path=ckpt.resume_path() if resume else None)
    return model, fitter, ckpt


def ends_alike(tmp_path, module, others, policy, at, **settings):
    model, fitter, _ = train(tmp_path / "whole", module, others, policy, **settings)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "cut", module, others, policy, crash=at, **settings)
    again, resumed, _ = train(tmp_path / "cut", module, others, policy, resume=True, **settings)
    assert fitter.global_step == resumed.global_step
    assert digest(model, fitter) == digest(again, resumed)


@pytest.mark.filterwarnings("ignore:Swapping scheduler")
@pytest.mark.parametrize("at", only_quick([8, 15, 17, 24], 15))
@pytest.mark.parametrize(
    "module, others",
    [
        (AveragesInBatchEnd, ()), (DrawsInBatchEnd, ()), (SchedulesInBatchEnd, ()), (DrawsInValidationEnd, ()),
        (ChangesWeightsInValidationEnd, ()), (DrawsInTrainStart, ()), (Anneals, ()), (DrawsInEpochStart, ()),
        (ShrinksInEpochStart, ()), (FreezesNorm, ()), (WithNorm, (FreezesNormFromCallback,)), (Model, (CountsEpochs,)),
        (Model, (accumulates,)), (Model, (averages,)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else ", ".join(one.__name__ for one in value) or "-",
)  # fmt: skip
def test_a_run_that_was_killed_in_mid_epoch_ends_like_the_whole_one(tmp_path, module, others, at):
    ends_alike(tmp_path, module, others, STEPS, at)


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    only_quick(
        [DrawsInTrainStart, DrawsInValidationEnd, AveragesInBatchEnd, DrawsInEpochStart],
        AveragesInBatchEnd,
        DrawsInEpochStart,
    ),
)
def test_a_run_that_was_killed_in_a_validation_or_at_an_epochs_end_ends_like_the_whole_one(tmp_path, module):
    ends_alike(tmp_path, module, (), ALL, 17, val_check_interval=0.4)
    ends_alike(tmp_path / "epochs", module, (), Policy(Every(epochs=1), KeepAll()), 17)


class EndsWithAverages(Averaged):
    def on_train_batch_end(self, *_):
        self.average()

    def on_train_end(self):
        for kept, parameter in zip(self.averages, self.net.parameters(), strict=True):
            parameter.data.copy_(kept)


def test_final_is_what_the_modules_last_hook_left(tmp_path):
    model, _, ckpt = train(tmp_path, EndsWithAverages, (), ALL)
    saved = torch.load(ckpt.final().path, weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())


def test_a_module_keeps_no_trace(tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, RaisesInBatchEnd, (), STEPS)
    assert not {name for name in vars(RaisesInBatchEnd.last) if name.startswith("on_")}
    pickle.dumps(RaisesInBatchEnd.last.net)


class RaisesInBatchEnd(Model):
    def on_train_start(self):
        RaisesInBatchEnd.last = self

    def on_train_batch_end(self, *_):
        if self.global_step == 4:
            raise ZeroDivisionError


class Collects(Model):
    """Computes a metric of its own at an epoch's end."""

    def on_train_epoch_start(self):
        self.rows = 0

    def training_step(self, batch, index):
        self.rows += len(batch[0])
        return super().training_step(batch, index)

    def on_train_epoch_end(self):
        self.log("rows", float(self.rows))


def test_a_metric_of_a_part_of_an_epoch_does_not_rank(tmp_path):
    rows = Metric("rows", mode="min")
    policy = Policy(Every(steps=3) | Every(epochs=1), KeepAll(), best_by=rows)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Collects, (), policy, crash=17)
    *_, ckpt = train(tmp_path, Collects, (), policy, resume=True)
    measured = {record.epoch: record.metrics["rows"] for record in ckpt.records() if "rows" in record.metrics}
    assert measured == {1: 120.0, 3: 120.0, 4: 120.0}


@pytest.mark.parametrize("bar", ["TQDMProgressBar", "RichProgressBar"])
def test_a_progress_bar_shows_the_resumed_epoch(tmp_path, bar, capsys):
    bars = (getattr(lightning.pytorch.callbacks, bar),)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Model, (), STEPS, crash=15)
    train(tmp_path, Model, bars, STEPS, resume=True, enable_progress_bar=True)
    assert "Epoch 3" in capsys.readouterr().out
