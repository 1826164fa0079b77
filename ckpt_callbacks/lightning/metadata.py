"""What goes on every record of a Lightning training."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch import Trainer


def training_facts(trainer: Trainer) -> dict[str, Any]:
    """Model, learning rates, processes, precision, hyperparameters and seed."""
    module = trainer.lightning_module
    facts: dict[str, Any] = {
        "model": type(module).__name__,
        "learning_rate": [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups],
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "hyperparameters": dict(module.hparams),
    }
    if "PL_GLOBAL_SEED" in os.environ:
        facts["seed"] = int(os.environ["PL_GLOBAL_SEED"])
    return facts
