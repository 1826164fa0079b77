"""The hooks that begin an epoch, for an epoch that is resumed midway.

Lightning calls ``on_train_epoch_start`` only at an epoch's beginning. What modules and callbacks set up there
(annealing, frozen statistics, accumulation, `StochasticWeightAveraging`) would be missing for the rest of the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.trainer.call import (
    _call_callback_hooks,
    _call_callbacks_load_state_dict,
    _call_lightning_module_hook,
)

from ..torch.rng import RandomState, set_random_state


def begin_epoch_again(trainer: Trainer, random: RandomState | None, checkpoint: Mapping[str, Any]) -> None:
    """Call the hooks that begin an epoch, and undo what they do a second time.

    Afterwards, weights, optimizers, schedulers and the states of callbacks are as in the checkpoint, because it was
    taken after these hooks. What they leave in attributes stays.

    Args:
        trainer: The trainer, which has loaded the checkpoint.
        random: The random state before the hooks in the interrupted training; None if it is unknown.
        checkpoint: What was loaded.
    """
    if random is not None:
        set_random_state(random)
    before = _contents(trainer)
    # This package's callbacks, and Lightning's ModelCheckpoint and EarlyStopping, count as monitoring ones.
    _call_callback_hooks(trainer, "on_train_epoch_start", monitoring_callbacks=False)
    _call_lightning_module_hook(trainer, "on_train_epoch_start")
    _load_again(trainer, checkpoint, has_changed=_contents(trainer) != before)


def _load_again(trainer: Trainer, checkpoint: Mapping[str, Any], has_changed: bool) -> None:
    # Other strategies load their files themselves, in parts.
    if has_changed and isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        # `WeightAveraging` writes the averages as the module's weights, and the trained ones beside them.
        weights = checkpoint.get("current_model_state", checkpoint["state_dict"])
        strict = trainer.lightning_module.strict_loading
        trainer.strategy.load_model_state_dict({"state_dict": weights}, strict=strict)
        if checkpoint.get("optimizer_states"):
            trainer.strategy.load_optimizer_state_dict(checkpoint)
    for config, state in zip(trainer.lr_scheduler_configs, checkpoint.get("lr_schedulers", ()), strict=False):
        config.scheduler.load_state_dict(state)
    _call_callbacks_load_state_dict(trainer, dict(checkpoint))


def _contents(trainer: Trainer) -> list[Any]:
    """Return sums that show whether weights or optimizers change. Writes to ``.data`` change no tensor's version."""
    module = trainer.lightning_module
    tensors = [*module.parameters(), *module.buffers()]
    found: list[Any] = []
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            found.append(
                [(name, value) for name, value in group.items() if isinstance(value, bool | int | float | str)]
            )
        tensors += [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
    return found + [_sums(t) for t in tensors]


def _sums(tensor: torch.Tensor) -> tuple[float, float]:
    try:
        values = tensor.detach().double()
        return float(values.sum()), float(values.square().sum())
    except (RuntimeError, ValueError, NotImplementedError, TypeError):  # lazy, quantized or sharded
        return 0.0, 0.0
