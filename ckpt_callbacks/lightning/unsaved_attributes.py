"""Attributes of a module and its optimizers that change in training, and that no checkpoint holds."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from ..runtime.visible_values import visible
from ..torch.module_tree import parts_by_name

# What these hooks set is set again after a resume.
_SET_AGAIN = ("setup", "configure_model", "on_fit_start", "on_train_start", "on_train_epoch_start")
_OTHERS = ("torch", "lightning", "torchmetrics")
_SAVED = {"state", "param_groups", "defaults"}  # of an optimizer


class UnsavedAttributes:
    """The numbers, tensors and containers that a module, its parts and its optimizers hold as plain attributes."""

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None
        self._of_optimizers: dict[str, Any] = {}
        self._set_again: set[str] = set()
        self._looks = 0

    def begin(self, trainer: Trainer) -> None:
        """Note the values after the first batch. Later calls do nothing."""
        if self._before is None:
            self._before = dict(_attributes(trainer.lightning_module))
            self._of_optimizers = dict(_attributes_of_optimizers(trainer))
            self._set_again = _set_again(trainer.lightning_module)

    def changed(self, trainer: Trainer) -> list[str]:
        """Return the names of the module's attributes that have changed.

        It looks at the first two saves and then whenever their number has doubled, because what changes in training
        normally does so from the start, and a look takes about a millisecond with 300 layers.
        """
        if self._before is None:
            return []
        self._looks += 1
        if self._looks & (self._looks - 1):
            return []
        found = _changed(self._before, dict(_attributes(trainer.lightning_module)))
        return [name for name in found if name not in self._set_again]

    def changed_in_optimizers(self, trainer: Trainer) -> list[str]:
        """Return the names of changed attributes of optimizers, and of optimizers inside them that have a state."""
        if self._before is None:
            return []
        changed = _changed(self._of_optimizers, dict(_attributes_of_optimizers(trainer)))
        return [*changed, *_inner_optimizers(trainer)]


def saves_more(trainer: Trainer) -> bool:
    """Return whether the module adds to checkpoints by itself."""
    return type(trainer.lightning_module).on_save_checkpoint is not LightningModule.on_save_checkpoint


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [name for name, value in now.items() if name not in before or before[name] != value]


def _attributes(module: LightningModule) -> Iterator[tuple[str, Any]]:
    saved = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    for path, part in parts_by_name(module):
        saves = type(part).get_extra_state is not torch.nn.Module.get_extra_state
        if saves or type(part).__module__.split(".")[0] in _OTHERS:
            continue
        for name, value in vars(part).items():
            if not name.startswith("_") and name != "training" and (seen := visible(value, saved)) is not None:
                yield f"{path}.{name}" if path else name, seen


def _attributes_of_optimizers(trainer: Trainer) -> Iterator[tuple[str, Any]]:
    for name, optimizer in _optimizers(trainer):
        saved = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
        for attribute, value in vars(optimizer).items():
            if attribute.startswith("_") or attribute in _SAVED or (seen := visible(value, saved)) is None:
                continue
            yield f"{name}.{attribute}", seen


def _inner_optimizers(trainer: Trainer) -> Iterator[str]:
    known = {id(optimizer.state) for optimizer in trainer.optimizers}
    for name, optimizer in _optimizers(trainer):
        for attribute, value in vars(optimizer).items():
            if isinstance(value, torch.optim.Optimizer) and value.state and id(value.state) not in known:
                yield f"{name}.{attribute}"


def _optimizers(trainer: Trainer) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """Yield the optimizers whose class does not decide by itself what is saved."""
    for optimizer in trainer.optimizers:
        if type(optimizer).state_dict is torch.optim.Optimizer.state_dict:
            yield type(optimizer).__name__, optimizer


def _set_again(module: LightningModule) -> set[str]:
    """Return the names of attributes that a hook sets when a fit or an epoch begins."""
    hooks = [getattr(getattr(type(module), name, None), "__code__", None) for name in _SET_AGAIN]
    lines = [line for code in hooks if code is not None for line in dis.get_instructions(code)]
    return {line.argval for line in lines if line.opname == "STORE_ATTR"}
