"""Resumes with less common kinds of data, metrics and callbacks, at places where state is easily forgotten."""

import os
import signal

import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import BaseFinetuning, Callback, EarlyStopping, EMAWeightAveraging
from torch.utils.data import DataLoader, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, Metric, OnPreempt, Policy
from tests.adapters.lightning.task import Model, digest, fit

POLICY = Policy(Every(epochs=1) | OnPreempt(), KeepAll())


class At(Callback):
    """Does something when a hook is called for the n-th time."""

    def __init__(self, hook, nth, act):
        self.left, self.act = nth, act
        setattr(self, hook, self._count)

    def _count(self, *_):
        self.left -= 1
        if self.left == 0:
            self.act()


def crash():
    raise ZeroDivisionError


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def generated(loader):
    def make(dataset, size, shuffle):
        return loader(dataset, size, shuffle=shuffle, generator=torch.Generator().manual_seed(9))

    return make


def persistent(dataset, size, shuffle):
    return DataLoader(dataset, size, shuffle=shuffle, num_workers=1, persistent_workers=True)


class Stream(IterableDataset):
    """A stream that knows its position, and starts again after its end."""

    def __init__(self, dataset):
        self.dataset, self.at = dataset, 0

    def __iter__(self):
        self.at %= len(self.dataset)
        while self.at < len(self.dataset):
            self.at += 1
            yield self.dataset[self.at - 1]

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def streaming(dataset, size, shuffle):
    return StatefulDataLoader(Stream(dataset), size)


PLACES = pytest.mark.parametrize(
    "hook, nth, act",
    [("on_train_epoch_start", 2, crash), ("on_validation_start", 2, terminate), ("on_train_batch_end", 13, terminate)],
    ids=["at an epoch's end", "in a validation", "in mid-epoch"],
)


@PLACES
def test_a_stream_that_knows_its_position_resumes(tmp_path, hook, nth, act):
    settings = {"loader": streaming, "num_sanity_val_steps": 0}
    whole = digest(*fit(tmp_path / "whole", POLICY, **settings)[:2])
    with pytest.raises((ZeroDivisionError, SystemExit)):
        fit(tmp_path / "cut", POLICY, extra=[At(hook, nth, act)], **settings)
    assert digest(*fit(tmp_path / "cut", POLICY, resume=True, **settings)[:2]) == whole


@pytest.mark.parametrize("staging", ["memory", "none"])
@pytest.mark.parametrize("nth", [1, 4], ids=["first batch", "second validation, its last batch"])
def test_a_signal_in_a_validation_of_averaged_weights_saves_the_models_own(tmp_path, nth, staging):
    def train(dirpath, *extra, resume=False):
        averaging = EMAWeightAveraging(decay=0.8)
        module, trainer, _ = fit(
            dirpath, POLICY, extra=[averaging, *extra], resume=resume, num_sanity_val_steps=0, val_size=20,
            arguments={"staging": staging},
        )  # fmt: skip
        return digest(module, trainer)

    whole = train(tmp_path / "whole")
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", At("on_validation_batch_start", nth, terminate))
    assert train(tmp_path / "cut", resume=True) == whole


@PLACES
@pytest.mark.parametrize("loader", [DataLoader, StatefulDataLoader], ids=["plain", "stateful"])
def test_a_loaders_own_generator_is_restored(tmp_path, loader, hook, nth, act):
    settings = {"loader": generated(loader), "num_sanity_val_steps": 0}
    whole = digest(*fit(tmp_path / "whole", POLICY, **settings)[:2])
    with pytest.raises((ZeroDivisionError, SystemExit)):
        fit(tmp_path / "cut", POLICY, extra=[At(hook, nth, act)], **settings)
    assert digest(*fit(tmp_path / "cut", POLICY, resume=True, **settings)[:2]) == whole


def test_persistent_workers_resume_in_the_first_epoch_and_are_reported_as_inexact(tmp_path, caplog):
    whole = digest(*fit(tmp_path / "whole", POLICY, loader=persistent)[:2])
    assert caplog.text.count("persistent_workers keep running") == 1
    with pytest.raises(SystemExit):
        fit(tmp_path / "cut", POLICY, loader=persistent, extra=[At("on_train_batch_end", 4, terminate)])
    assert digest(*fit(tmp_path / "cut", POLICY, loader=persistent, resume=True)[:2]) == whole, "this data is exact"


def test_a_run_that_early_stopping_had_stopped_trains_nothing_more(tmp_path):
    def stopper():
        return EarlyStopping("val_loss", patience=2, min_delta=1e9)

    first, fitter, _ = fit(tmp_path, extra=[stopper()], max_epochs=8)
    assert fitter.global_step == 30
    for _ in range(2):
        again, fitter, _ = fit(tmp_path, extra=[stopper()], resume=True, max_epochs=8)
        assert (fitter.global_step, digest(again, fitter)) == (30, digest(first, fitter))
    _, fitter, _ = fit(tmp_path, resume=True, max_epochs=4)
    assert fitter.global_step == 40, "without it, the run goes on"


class Measured(Model):
    def __init__(self):
        super().__init__()
        self.error = torchmetrics.MeanAbsoluteError()

    def training_step(self, batch, index):
        self.error(self.net(batch[0]), batch[1])
        self.log("train_error", self.error, on_step=False, on_epoch=True)
        return super().training_step(batch, index)


@pytest.mark.parametrize("hook, nth", [("on_validation_batch_end", 1), ("on_train_batch_end", 6)])
def test_a_torchmetrics_object_covers_the_epoch_that_is_resumed_midway(tmp_path, monkeypatch, caplog, hook, nth):
    monkeypatch.setattr("tests.adapters.lightning.task.Model", Measured)
    error = Metric("train_error", mode="min")
    policy = Policy(Improves(error) | Every(epochs=1) | OnPreempt(), KeepBest(2, by=error) | KeepAll())
    _, _, whole = fit(tmp_path / "whole", policy, num_sanity_val_steps=0)
    with pytest.raises(SystemExit):
        fit(tmp_path / "cut", policy, extra=[At(hook, nth, terminate)], num_sanity_val_steps=0)
    whole_epoch = hook == "on_validation_batch_end"  # no batch is left that would log it in the resumed run
    assert caplog.text.count("train_error will leave out its first batches") == whole_epoch
    _, _, resumed = fit(tmp_path / "cut", policy, resume=True, num_sanity_val_steps=0)
    expected = {record.epoch: record.metrics["train_error"] for record in whole.records()}
    found = {record.epoch: record.metrics.get("train_error") for record in resumed.records() if record.epoch}
    assert found == (expected | {1: None} if whole_epoch else expected)


class ByHand(Callback):
    """Trains the first layer only from the second epoch on."""

    def setup(self, trainer, module, stage):
        module.net[0].requires_grad_(False)

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            module.net[0].requires_grad_(True)


class ByLightning(BaseFinetuning):
    def freeze_before_training(self, module):
        self.freeze(module.net[0])

    def finetune_function(self, module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(module.net[0], optimizer, lr=0.01)


@pytest.mark.parametrize("schedule", [ByHand, ByLightning])
@pytest.mark.parametrize("epoch", [1, 2])
def test_what_was_unfrozen_stays_so(tmp_path, monkeypatch, caplog, schedule, epoch):
    def trained(self):
        wanted = self.parameters() if schedule is ByHand else self.net[3].parameters()
        return torch.optim.Adam(wanted, 0.02)

    monkeypatch.setattr(Model, "configure_optimizers", trained)
    settings = {"num_sanity_val_steps": 0, "max_epochs": 4}
    whole = digest(*fit(tmp_path / "whole", POLICY, extra=[schedule()], **settings)[:2])
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", POLICY, extra=[schedule(), At("on_train_epoch_start", epoch + 1, crash)], **settings)
    assert digest(*fit(tmp_path / "cut", POLICY, extra=[schedule()], resume=True, **settings)[:2]) == whole
    said = "the script differs: net.0.weight (trained), net.0.bias (trained)" in caplog.text
    assert said is (epoch == 2)
