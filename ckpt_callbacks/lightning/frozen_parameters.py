"""Parameters without gradients. After a resume, finetuning schedules do not unfreeze them again."""

from __future__ import annotations

import logging
from collections.abc import Collection

from lightning.pytorch import LightningModule

from ..errors import listed

log = logging.getLogger("ckpt_callbacks")


def is_trained_now(module: LightningModule, *frozen_before: Collection[str] | None) -> bool:
    """Return whether the script trains a parameter that was frozen at each of several moments."""
    if not frozen_before or any(names is None for names in frozen_before):
        return False
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return bool(trained.intersection(*(names for names in frozen_before if names is not None)))


def unfreeze(module: LightningModule, at_start: Collection[str] | None, at_save: Collection[str]) -> None:
    """Unfreeze the parameters that training had unfrozen, and log it.

    The script decides which parameters are frozen when training begins, and the current script has decided again.

    Args:
        module: The module, as the current script has created it.
        at_start: The parameters that were frozen when the interrupted run began. None if the file does not contain
            them.
        at_save: The parameters that were frozen when the checkpoint was taken.
    """
    unfrozen, lost = [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad and name not in at_save and (at_start is None or name in at_start):
            parameter.requires_grad_(True)
            unfrozen.append(f"{name} (trained)")
        elif parameter.requires_grad and name in at_save and at_start is not None and name not in at_start:
            lost.append(name)
    if unfrozen:
        log.warning("restored requires_grad from the checkpoint; the script differs: %s", listed(unfrozen))
    if lost:
        log.warning(
            "training had frozen parameters before the checkpoint was taken; they are trained again, because the "
            "script does not freeze them: %s; to continue as before, freeze them before training",
            listed(lost),
        )
