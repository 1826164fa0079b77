"""Generated scripts for Lightning."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, Improves, KeepLast, Metric, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import data
from tests.system.generated.script import BATCHES, EPOCHS, Choices, Script
from tests.system.soak.digest import digest

SIZE = 4  # rows of a batch
VAL = Metric("val_loss", mode="min")
CHOICES = Choices(
    actions={
        "on_train_start": ("draw", "consume"),
        "on_train_epoch_start": ("draw", "anneal", "shrink"),
        "on_train_batch_start": ("draw", "anneal"),
        "on_train_batch_end": ("consume", "average", "shrink"),
        "on_validation_start": ("consume", "swap"),
        "on_validation_end": ("consume", "shrink"),
        "on_train_epoch_end": ("consume", "average", "shrink"),
        "on_train_end": ("consume", "load averages"),
    },
    schedules=("none", "step", "epoch", "plateau", "by hand"),
    loaders=("plain", "generator", "batch sampler", "stateful", "stream"),
)
SAVES = {
    "epochs": Every(epochs=1),
    "steps": Every(steps=2),
    "improves": Improves(VAL),
    "both": Every(epochs=1) | Every(steps=3) | Improves(VAL),
}


class Actions:
    """What hooks do with a module.

    Args:
        hooks: Pairs of a hook and an action.
    """

    def __init__(self, hooks: tuple[tuple[str, str], ...]) -> None:
        self._hooks = dict(hooks)

    def perform(self, hook: str, module: Module) -> None:
        action = self._hooks.get(hook)
        if hook == "on_validation_end" and self._hooks.get("on_validation_start") == "swap":
            module.swap()
        if action == "swap":
            module.swap()
        elif action == "draw":
            module.noise = torch.rand(1)
        elif action == "consume":
            torch.rand(1)
        elif action == "anneal":
            steps = module.global_step if hook == "on_train_batch_start" else 0
            module.beta = 1 + 0.1 * module.current_epoch + 0.01 * steps
        elif action == "average":
            module.average()
        elif action == "load averages":
            module.swap()
        elif action == "shrink":
            with torch.no_grad():
                for parameter in module.net.parameters():
                    parameter.mul_(0.999)


class Module(lightning.LightningModule):
    """A network with dropout and batch normalization, and averages of its weights."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.automatic_optimization = script.optimizers == 1
        self.net = torch.nn.Sequential(
            torch.nn.Linear(10, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.2), torch.nn.Linear(4, 1)
        )
        self.averages = torch.nn.ParameterList(
            torch.nn.Parameter(p.detach().clone(), requires_grad=False) for p in self.net.parameters()
        )
        self.noise, self.beta = torch.zeros(1), 1.0
        self._actions = Actions(script.model)

    def average(self) -> None:
        with torch.no_grad():
            for kept, parameter in zip(self.averages, self.net.parameters(), strict=True):
                kept.lerp_(parameter, 0.1)

    def swap(self) -> None:
        with torch.no_grad():
            for kept, parameter in zip(self.averages, self.net.parameters(), strict=True):
                value = kept.clone()
                kept.copy_(parameter)
                parameter.copy_(value)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(self.net(batch[0]) * self.beta + self.noise, batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        if not self.automatic_optimization:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
            if self.script.schedule == "step":
                self.lr_schedulers().step()
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        parameters, count = list(self.net.parameters()), self.script.optimizers
        optimizers = [torch.optim.Adam(parameters[n::count], 0.02) for n in range(count)]
        schedule = self.script.schedule
        if schedule == "none" or (count > 1 and schedule != "step"):
            return optimizers
        if schedule == "plateau":
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers[0], factor=0.5, patience=0)
            return {"optimizer": optimizers[0], "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
        scheduler = torch.optim.lr_scheduler.StepLR(optimizers[0], 3 if schedule == "step" else 1, 0.8)
        interval = "step" if schedule == "step" else "epoch"
        return optimizers, [{"scheduler": scheduler, "interval": interval}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if self.script.schedule != "by hand":
            super().lr_scheduler_step(scheduler, metric)

    def on_train_start(self) -> None:
        self._actions.perform("on_train_start", self)

    def on_train_epoch_start(self) -> None:
        self._actions.perform("on_train_epoch_start", self)

    def on_train_batch_start(self, *_: Any) -> None:
        self._actions.perform("on_train_batch_start", self)

    def on_train_batch_end(self, *_: Any) -> None:
        self._actions.perform("on_train_batch_end", self)
        if self.script.schedule == "by hand" and self.script.optimizers == 1:
            self.lr_schedulers().step()

    def on_validation_start(self) -> None:
        if not self.trainer.sanity_checking:
            self._actions.perform("on_validation_start", self)

    def on_validation_end(self) -> None:
        if not self.trainer.sanity_checking:
            self._actions.perform("on_validation_end", self)

    def on_train_epoch_end(self) -> None:
        self._actions.perform("on_train_epoch_end", self)

    def on_train_end(self) -> None:
        self._actions.perform("on_train_end", self)


class Sibling(Callback):
    """A callback of the script's own."""

    def __init__(self, script: Script) -> None:
        self._actions = Actions(script.callback)

    def on_train_start(self, trainer: Any, module: Module) -> None:
        self._actions.perform("on_train_start", module)

    def on_train_epoch_start(self, trainer: Any, module: Module) -> None:
        self._actions.perform("on_train_epoch_start", module)

    def on_train_batch_start(self, trainer: Any, module: Module, *_: Any) -> None:
        self._actions.perform("on_train_batch_start", module)

    def on_train_batch_end(self, trainer: Any, module: Module, *_: Any) -> None:
        self._actions.perform("on_train_batch_end", module)

    def on_validation_start(self, trainer: Any, module: Module) -> None:
        if not trainer.sanity_checking:
            self._actions.perform("on_validation_start", module)

    def on_validation_end(self, trainer: Any, module: Module) -> None:
        if not trainer.sanity_checking:
            self._actions.perform("on_validation_end", module)

    def on_train_epoch_end(self, trainer: Any, module: Module) -> None:
        self._actions.perform("on_train_epoch_end", module)

    def on_train_end(self, trainer: Any, module: Module) -> None:
        self._actions.perform("on_train_end", module)


class Killer(Callback):
    """Kills the process before the batch of this number."""

    def __init__(self, batch: int) -> None:
        self._batch = batch

    def on_train_batch_start(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self._batch:
            os.kill(os.getpid(), signal.SIGKILL)


class Stream(IterableDataset):
    """A stream of rows, with fewer rows than its length says."""

    def __init__(self, rows: Dataset) -> None:
        self._rows = rows
        self._place = 0

    def __iter__(self) -> Any:
        while self._place < len(self._rows):
            self._place += 1
            yield self._rows[self._place - 1]
        self._place = 0

    def __len__(self) -> int:
        return len(self._rows) + SIZE

    def state_dict(self) -> dict[str, int]:
        return {"place": self._place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._place = state["place"]


def loaders(kind: str) -> tuple[Any, Any]:
    x, y = data()
    rows = SIZE * BATCHES
    train, val = TensorDataset(x[:rows], y[:rows]), TensorDataset(x[rows : rows + 12], y[rows : rows + 12])
    generator = torch.Generator().manual_seed(3)
    sampler = torch.utils.data.RandomSampler(train, generator=generator)
    loader = {
        "plain": lambda: DataLoader(train, SIZE, shuffle=True),
        "generator": lambda: DataLoader(train, SIZE, shuffle=True, generator=generator),
        "batch sampler": lambda: DataLoader(
            train, batch_sampler=torch.utils.data.BatchSampler(sampler, SIZE, drop_last=False)
        ),
        "stateful": lambda: StatefulDataLoader(train, SIZE, shuffle=True),
        "stream": lambda: StatefulDataLoader(Stream(train), SIZE),
    }[kind]()
    return loader, DataLoader(val, 6)


def train(script: Script, dirpath: Path, kill: int | None) -> dict[str, Any]:
    """Train the script from its newest checkpoint on, and return its final state."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    lightning.seed_everything(script.seed, verbose=False)
    module = Module(script)
    ckpt = LightningCheckpoint(dirpath, Policy(SAVES[script.save], KeepLast(3)))
    callbacks = [Sibling(script), ckpt] if script.is_first else [ckpt, Sibling(script)]
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, callbacks=[*callbacks, *([] if kill is None else [Killer(kill)])], logger=False,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        accumulate_grad_batches=script.accumulate, val_check_interval=script.validate or 1.0,
    )  # fmt: skip
    trainer.fit(module, *loaders(script.loader), ckpt_path=ckpt.resume_path())
    best = ckpt.best()
    return {
        "weights": digest(module.state_dict()),
        "optimizers": digest([optimizer.state_dict() for optimizer in trainer.optimizers]),
        "schedule": digest([config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]),
        "metrics": digest({name: float(value) for name, value in trainer.callback_metrics.items()}),
        "steps": trainer.global_step,
        "best": None if best is None else [best.step, best.epoch, dict(best.metrics)],
    }
