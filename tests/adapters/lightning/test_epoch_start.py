"""Runs that are resumed in mid-epoch, and need what the hooks at the epoch's start set up."""

import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
    TQDMProgressBar,
)
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepAll, KeepLast, OnPreempt, Policy
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model
from tests.adapters.lightning.test_module_hooks import train
from tests.adapters.lightning.test_resuming_data import At, terminate
from tests.support.variants import only_quick


class Annealed(Model):
    """Weighs its loss by the epoch, and by the step at which it began."""

    def on_train_epoch_start(self):
        self.beta = 1 + 0.3 * self.current_epoch + 0.01 * self.global_step

    def training_step(self, batch, index):
        return self.beta * super().training_step(batch, index)


class Frozen(Model):
    """A normalization that is not trained, as in fine-tuning."""

    def __init__(self):
        super().__init__()
        self.net.insert(1, torch.nn.BatchNorm1d(8))

    def on_train_epoch_start(self):
        if self.current_epoch > 0:
            self.net[1].eval()


class Drawn(Model):
    """Draws an order for the epoch."""

    def on_train_epoch_start(self):
        self.order = torch.randperm(8)

    def training_step(self, batch, index):
        return super().training_step(batch, index) * self.order[index % 8]


class Resets(Model):
    """Clears a buffer, sets the learning rate and logs: all of that is in the checkpoint."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def on_train_epoch_start(self):
        self.seen.zero_()
        for group in self.optimizers().param_groups:
            group["lr"] = 0.02 / (1 + self.current_epoch)
        self.log("rate", 1.0 * self.current_epoch)

    def training_step(self, batch, index):
        self.seen += 1
        self.optimizers().param_groups[0]["lr"] *= 0.95
        return super().training_step(batch, index) * self.seen


class ReplacesABuffer(Resets):
    def on_train_epoch_start(self):
        self.seen = torch.zeros(())


class ShufflesABuffer(Model):
    """Shuffles its memory bank, which changes no sum."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.arange(8.0))

    def on_train_epoch_start(self):
        self.memory = self.memory[torch.randperm(8)]

    def training_step(self, batch, index):
        return super().training_step(batch, index) * self.memory[index % 8]


class Tasks(Callback):
    """Has a state, and draws a task per epoch ahead of the module."""

    def __init__(self):
        self.epochs = 0

    def on_train_epoch_start(self, trainer, module):
        self.epochs += 1
        self.scale = 1 + float(torch.rand(()))

    def on_before_optimizer_step(self, trainer, module, optimizer):
        for parameter in module.parameters():
            parameter.grad *= self.scale * self.epochs

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


class Evaluates(Callback):
    def on_train_epoch_start(self, trainer, module):
        module.net[1].eval() if trainer.current_epoch else None


def nothing():
    return []


CASES = {
    "annealed": (Annealed, nothing),
    "frozen": (Frozen, nothing),
    "drawn": (Drawn, nothing),
    "resets": (Resets, nothing),
    "replaces": (ReplacesABuffer, nothing),
    "shuffles": (ShufflesABuffer, nothing),
    "callback": (Drawn, lambda: [Tasks()]),
    "eval by a callback": (Model, lambda: [Evaluates()]),
    "accumulation": (Model, lambda: [GradientAccumulationScheduler({0: 1, 1: 2})]),
    "averaging": (Model, lambda: [StochasticWeightAveraging(0.01, swa_epoch_start=1, annealing_epochs=2)]),
    "progress bar": (Drawn, lambda: [TQDMProgressBar()]),
}


@pytest.mark.slow
@pytest.mark.parametrize("loader", only_quick([DataLoader, StatefulDataLoader], DataLoader), ids=["plain", "stateful"])
@pytest.mark.parametrize("name", only_quick(CASES, "callback"))
def test_an_epoch_that_is_resumed_has_what_its_start_set_up(tmp_path, name, loader):
    module, extra = CASES[name]
    settings = dict(loader=loader, val_check_interval=4, max_epochs=4, enable_progress_bar=name == "progress bar")
    policy = Policy(Every(steps=1), KeepLast(2))
    whole, *_ = train(tmp_path / "whole", module, policy, extra=extra(), **settings)
    for step in (3, 8, 14, 17):
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / f"{step}", module, policy, extra=[*extra(), Crash(step)], **settings)
        resumed, *_ = train(tmp_path / f"{step}", module, policy, extra=extra(), resume=True, **settings)
        assert resumed == whole, f"resumed at step {step}"


@pytest.mark.parametrize("hook, nth", [("on_train_batch_end", 13), ("on_validation_batch_start", 2)])
@pytest.mark.parametrize("name", only_quick(["annealed", "drawn", "callback"], "annealed"))
def test_a_signal_in_mid_epoch_or_in_the_validation_at_its_end(tmp_path, name, hook, nth):
    module, extra = CASES[name]
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
    whole, *_ = train(tmp_path / "whole", module, policy, extra=extra())
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", module, policy, extra=[*extra(), At(hook, nth, terminate)])
    assert train(tmp_path / "cut", module, policy, extra=extra(), resume=True)[0] == whole


@pytest.mark.slow
def test_a_run_that_is_cut_again_in_the_same_epoch(tmp_path):
    policy = Policy(Every(steps=1), KeepLast(2))
    whole, *_ = train(tmp_path / "whole", Drawn, policy, extra=[Tasks()])
    for step in (12, 14, 15, 21):
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / "cut", Drawn, policy, extra=[Tasks(), Crash(step)], resume=True)
    assert train(tmp_path / "cut", Drawn, policy, extra=[Tasks()], resume=True)[0] == whole


def test_at_an_epochs_end_only_lightning_calls_the_hooks(tmp_path):
    called = []

    class Counts(Callback):
        def on_train_epoch_start(self, trainer, module):
            called.append(trainer.current_epoch)

    policy = Policy(Every(epochs=1), KeepLast(2))
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Model, policy, extra=[Counts(), Crash(13)])
    train(tmp_path, Model, policy, extra=[Counts()], resume=True)
    assert called == [0, 1, 1, 2]
