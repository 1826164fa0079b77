"""The hooks that begin an epoch, for an epoch that is resumed midway.

Lightning calls ``on_train_epoch_start`` only at an epoch's beginning. What modules and callbacks set up there
(annealing, frozen statistics, accumulation, `StochasticWeightAveraging`) would be missing for the rest of the epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ProgressBar,
)
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.trainer.call import _call_lightning_module_hook

from ..torch.rng import RandomState, set_random_state
from . import loops

_ONCE = (LearningRateFinder, BatchSizeFinder, LearningRateMonitor)  # what they did is in the file, or in a logger
_HARMLESS = (ProgressBar, GradientAccumulationScheduler)  # they change nothing that is in a checkpoint


def begin_epoch_again(
    trainer: Trainer, random: RandomState | None, step: int | None, checkpoint: Mapping[str, Any]
) -> None:  # fmt: skip
    """Call the hooks that begin an epoch, and undo their effect on what the checkpoint holds.

    Afterwards, weights, optimizers, schedulers and the states of callbacks are those of the checkpoint, because it was
    taken after these hooks. Whatever the hooks leave in attributes stays.

    Args:
        trainer: The trainer, which has loaded the checkpoint.
        random: The random state before the hooks in the interrupted run; None if it is unknown.
        step: Optimizer updates done by then; None if it is unknown.
        checkpoint: What was loaded.
    """
    if not loops.skips_epoch_start(trainer):
        return
    if random is not None:
        set_random_state(random)
    module = trainer.lightning_module
    called = [callback for callback in trainer.callbacks if _is_called_again(callback)]
    before, module._current_fx_name = module._current_fx_name, "on_train_epoch_start"
    with loops.at_step(trainer, step):
        for callback in called:
            callback.on_train_epoch_start(trainer, module)
        _call_lightning_module_hook(trainer, "on_train_epoch_start")
    module._current_fx_name = before
    changing = [callback for callback in called if not isinstance(callback, _HARMLESS)]
    if changing or not _origin(module).startswith("lightning."):
        _load_again(trainer, checkpoint, changing)


def _load_again(trainer: Trainer, checkpoint: Mapping[str, Any], callbacks: Sequence[Callback]) -> None:
    # Other strategies load their files themselves, in parts.
    if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        # `WeightAveraging` writes the averages as the module's weights, and the trained ones beside them.
        weights = checkpoint.get("current_model_state", checkpoint["state_dict"])
        strict = trainer.lightning_module.strict_loading
        trainer.strategy.load_model_state_dict({"state_dict": weights}, strict=strict)
        if checkpoint.get("optimizer_states"):
            trainer.strategy.load_optimizer_state_dict(checkpoint)
    for config, state in zip(trainer.lr_scheduler_configs, checkpoint.get("lr_schedulers", ()), strict=False):
        config.scheduler.load_state_dict(state)
    for callback in callbacks:
        state = checkpoint["callbacks"].get(callback.state_key)
        if state and not _origin(callback).startswith("lightning."):  # Lightning's own callbacks handle a resume
            callback.load_state_dict(copy.deepcopy(state))


def _is_called_again(callback: Callback) -> bool:
    origin = _origin(callback)
    # This package's own callbacks note in this hook that an epoch begins.
    return not (isinstance(callback, _ONCE) or origin == Callback.__module__ or origin.startswith(f"{__package__}."))


def _origin(owner: Any) -> str:
    """Return the name of the Python module that defines a hook."""
    return getattr(owner.on_train_epoch_start, "__module__", None) or ""
