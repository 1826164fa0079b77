"""The optimizers in a checkpoint, compared with those of the script."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import Strategy

from ..errors import ResumeError
from .remedies import way_to_leave_out_optimizer

log = logging.getLogger("ckpt_callbacks")


def optimizer_classes(trainer: Trainer) -> list[list[str]]:
    """Return the class of each optimizer, and the classes that it is derived from, as a checkpoint holds them."""
    return [_classes(optimizer) for optimizer in trainer.optimizers]


class SavedOptimizers:
    """The optimizers in a checkpoint.

    Args:
        states: What Lightning has saved of them.
        classes: What `optimizer_classes` returned; None if the file does not contain it.
    """

    def __init__(self, states: Sequence[Mapping[str, Any]], classes: Sequence[Sequence[str]] | None) -> None:
        self._classes = classes
        self._groups = [
            [(frozenset(group), len(group["params"])) for group in state.get("param_groups", ())] for state in states
        ]

    def refuse_others(self, trainer: Trainer) -> None:
        """Make sure that the trainer's optimizers can load the saved ones. Nothing is loaded yet.

        Raises:
            ResumeError: They cannot.
        """
        loads_plainly = type(trainer.strategy).load_optimizer_state_dict is Strategy.load_optimizer_state_dict
        # A module may add parameter groups in this hook, which is called later.
        changes = type(trainer.lightning_module).on_fit_start is not LightningModule.on_fit_start
        if not self._groups or not loads_plainly or changes:
            return
        why = self._difference(trainer.optimizers)
        if why is not None:
            raise ResumeError(
                f"{trainer.ckpt_path}: {why}; expected the optimizer that wrote it; to continue with a new one, "
                f"{way_to_leave_out_optimizer(trainer)}"
            )

    def _difference(self, optimizers: Sequence[torch.optim.Optimizer]) -> str | None:
        if len(optimizers) != len(self._groups):
            return f"holds {len(self._groups)} optimizers, and the script has {len(optimizers)}"
        for number, (optimizer, groups) in enumerate(zip(optimizers, self._groups, strict=True)):
            name = type(optimizer).__name__
            saved = self._classes[number] if self._classes is not None and number < len(self._classes) else None
            if (why := _other_class(optimizer, saved)) is not None:
                return why
            ours, theirs = [len(group["params"]) for group in optimizer.param_groups], [size for _, size in groups]
            if ours != theirs:
                return f"{name} has {_sizes(ours)} in the script, and {_sizes(theirs)} in the file"
            lacking = [key for key, value in optimizer.defaults.items() if _counts(value) and key not in groups[0][0]]
            if lacking:
                return f"was not written with {name}: the file lacks {', '.join(lacking)}"
        return None


def _other_class(optimizer: torch.optim.Optimizer, saved: Sequence[str] | None) -> str | None:
    ours = _classes(optimizer)
    if not saved or saved[0] == ours[0]:
        return None
    name, theirs = type(optimizer).__name__, saved[0].rpartition(".")[2]
    if (
        saved[0] not in ours
        and ours[0] not in saved
        and all(one.startswith("torch.optim.") for one in (saved[0], ours[0]))
    ):
        return f"was written with {theirs}, and the script has {name}"
    # One is derived from the other, or takes its place, such as a fused variant.
    log.warning(
        "the checkpoint was written with %s, and the script has %s: the settings in the checkpoint apply, such as the "
        "learning rate",
        theirs, name,
    )  # fmt: skip
    return None


def _classes(optimizer: torch.optim.Optimizer) -> list[str]:
    own = [kind for kind in type(optimizer).__mro__ if issubclass(kind, torch.optim.Optimizer)]
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in own if kind is not torch.optim.Optimizer]


def _counts(value: Any) -> bool:
    """Return whether a setting changes the mathematics; torch itself adds missing switches."""
    return not isinstance(value, bool | type(None))


def _sizes(sizes: Sequence[int]) -> str:
    if len(sizes) == 1:
        return f"one group of {sizes[0]} parameters"
    return f"{len(sizes)} groups of {', '.join(map(str, sizes[:8]))}{' ...' if len(sizes) > 8 else ''} parameters"
