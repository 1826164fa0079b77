"""Attributes of a module that change in training, and that no checkpoint holds."""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from ..errors import listed

# What these hooks set is set again after a resume.
_SET_AGAIN = ("setup", "configure_model", "on_fit_start", "on_train_start", "on_train_epoch_start")
_OTHERS = ("torch", "lightning", "torchmetrics")


class UnsavedAttributes:
    """The numbers, tensors and lists that a module and its parts hold as plain attributes."""

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None

    def begin(self, trainer: Trainer) -> None:
        """Note the values after the first batch. Later calls do nothing."""
        if self._before is None:
            self._before = dict(_attributes(trainer.lightning_module))

    def changed(self, trainer: Trainer) -> str | None:
        """Return the names of changed attributes; None if there are none, or if the module saves state itself."""
        module = trainer.lightning_module
        if self._before is None or saves_more(trainer):
            return None
        now = dict(_attributes(module))
        names = [name for name, value in now.items() if name not in self._before or self._before[name] != value]
        names = [name for name in names if name not in _set_again(module)]
        return listed(names) if names else None


def saves_more(trainer: Trainer) -> bool:
    """Return whether the module adds to checkpoints by itself."""
    return type(trainer.lightning_module).on_save_checkpoint is not LightningModule.on_save_checkpoint


def _attributes(module: LightningModule) -> Iterator[tuple[str, Any]]:
    for path, part in module.named_modules():
        saves = type(part).get_extra_state is not torch.nn.Module.get_extra_state
        if saves or type(part).__module__.split(".")[0] in _OTHERS:
            continue
        for name, value in vars(part).items():
            if not name.startswith("_") and name != "training" and (seen := _seen(value)) is not None:
                yield f"{path}.{name}" if path else name, seen


def _seen(value: Any) -> Any:
    """Return the part of a value that is compared; None for values of other kinds."""
    if isinstance(value, bool | int | float | str):
        return value if value == value else "nan"
    if isinstance(value, torch.Tensor):
        return id(value), value._version
    return len(value) if isinstance(value, list | dict | deque) else None


def _set_again(module: LightningModule) -> set[str]:
    """Return the names of attributes that a hook sets when a fit or an epoch begins."""
    hooks = [getattr(getattr(type(module), name, None), "__code__", None) for name in _SET_AGAIN]
    lines = [line for code in hooks if code is not None for line in dis.get_instructions(code)]
    return {line.argval for line in lines if line.opname == "STORE_ATTR"}
