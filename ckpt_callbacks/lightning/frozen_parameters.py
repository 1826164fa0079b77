"""Parameters without gradients. After a resume, finetuning schedules do not unfreeze them again."""

from __future__ import annotations

import logging
from collections.abc import Collection

from lightning.pytorch import LightningModule

log = logging.getLogger("ckpt_callbacks")
_SHOWN = 3


def frozen(module: LightningModule) -> list[str]:
    """Return the names of the parameters that require no gradient."""
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def freeze(module: LightningModule, wanted: Collection[str]) -> None:
    """Freeze the parameters in ``wanted``, unfreeze all others, and log the changes."""
    wanted, changed = set(wanted), []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad is (name in wanted):
            parameter.requires_grad_(name not in wanted)
            changed.append(f"{name} ({'frozen' if name in wanted else 'trained'})")
    if changed:
        shown = changed[:_SHOWN] + [f"and {len(changed) - _SHOWN} more"] * (len(changed) > _SHOWN)
        log.warning("restored requires_grad from the checkpoint; the script differs: %s", ", ".join(shown))
