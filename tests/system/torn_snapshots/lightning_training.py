"""A Lightning training run in which every saved value is its step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.record import Record
from tests.support.training import run_of
from tests.system.torn_snapshots.pace import BATCHES, FastClock, Moments, Pace

SMALL = 128  # bfloat16 holds whole numbers only up to 256


class Stamp(torch.optim.Optimizer):
    """An optimizer that sets every value to the number of the step."""

    def __init__(self, module: Everything) -> None:
        super().__init__(module.parameters(), {"lr": 1.0, "count": 0})
        self._module = module

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        (group,) = self.param_groups
        count = group["count"] = group["count"] + 1
        with torch.no_grad():
            for parameter in group["params"]:
                parameter.fill_(_value(count, parameter))
                state = self.state[parameter]
                if not state:
                    state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(parameter), "noted": [0]}
                state["step"].fill_(count)
                state["momentum"].fill_(_value(count, parameter))
                state["noted"][0] = count
        self._module.stamp(count)
        return loss


class Notes:
    """State without tensors: numpy arrays and Python values, changed in place."""

    def __init__(self) -> None:
        self.array, self.many = np.zeros(2000, np.float64), np.zeros((3, 4), np.int64)
        self.plain: dict[str, Any] = {"count": 0, "list": [0, [0]], "array": np.zeros(5)}

    def stamp(self, count: int) -> None:
        self.array[...] = self.many[...] = count
        self.plain["count"] = self.plain["list"][0] = self.plain["list"][1][0] = count
        self.plain["array"][...] = count

    def all(self) -> dict[str, Any]:
        return {"array": self.array, "many": self.many, "plain": self.plain}


class Everything(lightning.LightningModule):
    """A module with parameters and buffers of several types and sizes, some tied or views, and an extra state."""

    def __init__(self, pace: Pace, moments: Moments, dirpath: Path) -> None:
        super().__init__()
        self.large = torch.nn.Parameter(torch.zeros(300, 300))
        self.small = torch.nn.Parameter(torch.zeros(7))
        self.halves = torch.nn.Parameter(torch.zeros(5000, dtype=torch.bfloat16))
        self.scalar = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.turned = torch.nn.Parameter(torch.zeros(60, 90).t())
        self.tied = self.large
        self.register_buffer("mean", torch.zeros(40_000))
        self.register_buffer("part", self.mean[100:200])
        self.register_buffer("counter", torch.tensor(0))
        self.extra, self.noted = Notes(), Notes()
        self._pace, self._moments, self._dirpath = pace, moments, dirpath

    def stamp(self, count: int) -> None:
        for buffer in self.buffers():
            buffer.fill_(count)
        self.extra.stamp(count)
        self.noted.stamp(count)
        self._moments.wish(self._dirpath, count)
        self._pace.advance(count)

    def get_extra_state(self) -> dict[str, Any]:
        return self.extra.all()

    def set_extra_state(self, state: Any) -> None:
        """Do nothing: no run is resumed here."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["noted"] = self.noted.all()

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return sum((p.float().sum() for p in self.parameters()), torch.zeros(())) * 0

    def configure_optimizers(self) -> Any:
        stamp = Stamp(self)
        schedule = torch.optim.lr_scheduler.LambdaLR(stamp, lambda step: 1.0)
        return [stamp], [{"scheduler": schedule, "interval": "step"}]


class Noting(Callback):
    """A callback that returns its state uncopied, which others change later."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def state_dict(self) -> dict[str, Any]:
        return self._notes.all()


def train(dirpath: Path, contents: str, moments: Moments, pace: Pace) -> list[Record]:
    """Train and save, and return the records."""
    ours = LightningCheckpoint(dirpath, moments.policy, contents=contents, clock=FastClock())
    module = Everything(pace, moments, dirpath)
    data = DataLoader(TensorDataset(torch.zeros(BATCHES, 1)), 1)
    trainer = lightning.Trainer(
        callbacks=[Noting(module.noted), ours], max_epochs=moments.epochs, logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pace.slowing(run_of(ours)):
        trainer.fit(module, data)
    return ours.records()


def steps_in(path: Path, contents: str) -> set[int]:
    """Return the steps that the values in a file contain; 0 means a value that should not be there."""
    checkpoint = torch.load(path, weights_only=False)
    parts: list[Any] = [checkpoint["state_dict"], checkpoint["noted"], checkpoint["global_step"]]
    if contents == "full":
        (optimizer,) = checkpoint["optimizer_states"]
        (group,) = optimizer["param_groups"]
        noting = [state for name, state in checkpoint["callbacks"].items() if "Noting" in name]
        parts += [optimizer["state"], group["count"], noting, checkpoint["lr_schedulers"][0]["last_epoch"]]
        assert noting and len(optimizer["state"]) == 5
    return set(_numbers(parts, checkpoint["global_step"]))


def _numbers(value: Any, step: int) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
        found = set(value.float().unique().tolist())
        yield from {step} if found == {step % SMALL} else {-n for n in found}
    elif isinstance(value, torch.Tensor | np.ndarray):
        yield from set(np.unique(np.asarray(value)).tolist())
    elif isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item, step)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item, step)
    else:
        yield value


def _value(count: int, tensor: torch.Tensor) -> int:
    return count % SMALL if tensor.dtype == torch.bfloat16 else count
