"""The storages of a trainer that only an optimizer step changes."""

from __future__ import annotations

from lightning.pytorch import Trainer

from ..torch.staging import step_only_storages


def step_only(trainer: Trainer) -> set[int]:
    """Return the addresses of the storages on a device that only an optimizer step changes.

    With manual optimization, an optimizer step may happen without a call of any hook.
    """
    if trainer.strategy.root_device.type != "cuda" or not trainer.lightning_module.automatic_optimization:
        return set()
    return step_only_storages(trainer.optimizers)
