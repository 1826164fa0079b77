"""Hooks of the module that change the state: Lightning calls them after the callbacks' hooks of the same name."""

import pytest
import torch
from lightning import seed_everything
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, Improves, KeepAll, KeepLast, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import VAL, Model, digest, loaders, trainer
from tests.adapters.lightning.test_resuming_data import At, crash, terminate
from tests.support.variants import only_quick


class Averaged(Model):
    """Averages its weights."""

    def __init__(self):
        super().__init__()
        self.average = torch.nn.Linear(8, 1).requires_grad_(False)

    def update(self):
        for mean, own in zip(self.average.parameters(), self.net[3].parameters(), strict=True):
            mean.data.lerp_(own.data, 0.1)

    def swap(self):
        for mean, own in zip(self.average.parameters(), self.net[3].parameters(), strict=True):
            mean.data, own.data = own.data, mean.data


class AfterBatch(Averaged):
    def on_train_batch_end(self, *_):
        self.update()


class Scheduled(Model):
    """Steps its scheduler by hand."""

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": self.schedule, "interval": "epoch", "frequency": 1000}]

    def on_train_batch_end(self, *_):
        self.schedule.step()


class DrawsAfterBatch(Model):
    def on_train_batch_end(self, *_):
        torch.rand(3)


class LogsAfterBatch(AfterBatch):
    def on_train_batch_end(self, *_):
        super().on_train_batch_end()
        self.log("drift", torch.rand(()), on_step=True, on_epoch=True)


class AfterValidation(Averaged):
    def on_validation_end(self):
        self.update()
        torch.rand(3)


class SwapsForValidation(AfterBatch):
    def on_validation_start(self):
        self.swap()

    def on_validation_end(self):
        self.swap()


class FixedNoise(Model):
    """Draws once when training begins, as GANs do for their sample images."""

    def on_train_start(self):
        self.noise = torch.randn(16, 8)

    def on_validation_epoch_end(self):
        self.log("noise", self.noise.mean())


class Manual(AfterBatch):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))
        optimizer.step()


def train(dirpath, module, policy, *, resume=False, extra=(), loader=DataLoader, **settings):
    seed_everything(7, verbose=False)
    module, callback = module(), LightningCheckpoint(dirpath, policy)
    fitter = trainer(*extra, callback, **{"num_sanity_val_steps": 0, **settings})
    fitter.fit(module, *loaders(loader), ckpt_path=callback.resume_path() if resume else None)
    return digest(module, fitter), module, callback


MODULES = [
    AfterBatch, Scheduled, DrawsAfterBatch, LogsAfterBatch, AfterValidation, SwapsForValidation, FixedNoise, Manual,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("module", only_quick(MODULES, LogsAfterBatch, SwapsForValidation, Manual))
@pytest.mark.parametrize("loader", only_quick([DataLoader, StatefulDataLoader], DataLoader), ids=["plain", "stateful"])
def test_what_the_modules_hooks_do_is_in_the_checkpoint(tmp_path, module, loader):
    policy, settings = Policy(Every(steps=1), KeepLast(2)), dict(loader=loader, val_check_interval=4)
    whole, as_trained, _ = train(tmp_path / "whole", module, policy, **settings)
    for step in (3, 4, 14, 20):  # in an epoch, after a validation in mid-epoch (twice), at an epoch's end
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / f"{step}", module, policy, extra=[Crash(step)], **settings)
        resumed, again, _ = train(tmp_path / f"{step}", module, policy, resume=True, **settings)
        assert resumed == whole, f"resumed at step {step}"
        if module is FixedNoise:
            assert torch.equal(again.noise, as_trained.noise)


def test_numbers_drawn_when_training_begins_shift_nothing_at_an_epochs_end(tmp_path):
    policy = Policy(Every(epochs=1), KeepAll())
    whole, *_ = train(tmp_path / "whole", FixedNoise, policy)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "cut", FixedNoise, policy, extra=[Crash(13)])
    assert train(tmp_path / "cut", FixedNoise, policy, resume=True)[0] == whole


@pytest.mark.parametrize("hook, nth", [("on_train_batch_end", 13), ("on_validation_batch_start", 2)])
@pytest.mark.parametrize("module", [AfterBatch, DrawsAfterBatch, AfterValidation])
def test_a_signal_saves_what_the_modules_hooks_did(tmp_path, module, hook, nth):
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
    whole, *_ = train(tmp_path / "whole", module, policy)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", module, policy, extra=[At(hook, nth, terminate)])
    assert train(tmp_path / "cut", module, policy, resume=True)[0] == whole


def test_files_of_validations_hold_the_trained_weights_like_those_of_epochs(tmp_path):
    trained = {}

    class Notes(SwapsForValidation):
        def on_train_batch_end(self, *_):
            super().on_train_batch_end()
            trained[self.trainer.global_step] = self.net[3].weight.detach().clone()

    _, _, callback = train(tmp_path, Notes, Policy(Improves(VAL), KeepAll()), val_check_interval=4)
    files = {record.step: torch.load(record.path)["state_dict"]["net.3.weight"] for record in callback.records()}
    assert set(files) > {4, 8} and all(torch.equal(files[step], trained[step]) for step in files)


def test_final_is_what_training_ended_with(tmp_path):
    class TakesItsAverage(AfterBatch):
        def on_train_end(self):
            self.swap()

    _, module, callback = train(tmp_path, TakesItsAverage, Policy(Every(steps=100), KeepLast(1)))
    held = torch.load(callback.final().path)["state_dict"]
    assert all(torch.equal(held[name], value) for name, value in module.state_dict().items())


class Boom(Model):
    def on_train_batch_end(self, *_):
        if self.trainer.global_step == 5:
            raise ZeroDivisionError


def test_a_hook_that_raises_leaves_the_trainer_as_it_was(tmp_path):
    seed_everything(7, verbose=False)
    callback = LightningCheckpoint(tmp_path, Policy(Every(steps=1), KeepAll()))
    fitter = trainer(callback)
    with pytest.raises(ZeroDivisionError):
        fitter.fit(Boom(), *loaders())
    assert not [name for name in vars(fitter.lightning_module) if name.startswith("on_")]
    assert [record.step for record in callback.records()] == [1, 2, 3, 4]


@pytest.mark.slow
def test_two_callbacks_save_the_same_and_resume_once(tmp_path):
    drawn = []

    class Draws(DrawsAfterBatch):
        def on_train_epoch_start(self):
            drawn.append(torch.rand(()).item())

    def fit(folder, resume=False, extra=()):
        seed_everything(7, verbose=False)
        policy = Policy(Every(steps=1), KeepLast(2))
        module, callbacks = Draws(), [LightningCheckpoint(folder / name, policy) for name in "ab"]
        fitter = trainer(*extra, *callbacks)
        fitter.fit(module, *loaders(), ckpt_path=callbacks[1].resume_path() if resume else None)
        return digest(module, fitter)

    whole = fit(tmp_path / "whole")
    expected = drawn.copy()
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", extra=[At("on_train_batch_start", 15, crash)])
    drawn.clear()
    assert fit(tmp_path / "cut", resume=True) == whole
    assert drawn == expected[1:]
