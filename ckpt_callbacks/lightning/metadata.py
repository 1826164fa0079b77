"""The metadata of a Lightning training run, stored in every record."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch import Trainer

from .hyperparameters import Hyperparameters


def training_metadata(trainer: Trainer, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the model, learning rates, number of processes, precision, hyperparameters and seed."""
    module = trainer.lightning_module
    metadata: dict[str, Any] = {
        "model": type(module).__name__,
        "learning_rate": [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups],
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "hyperparameters": hyperparameters.describe(module.hparams),
    }
    if "PL_GLOBAL_SEED" in os.environ:
        metadata["seed"] = int(os.environ["PL_GLOBAL_SEED"])
    return metadata
