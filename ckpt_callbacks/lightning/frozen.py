"""Which parameters are trained: a schedule that has unfrozen some does so no more when it is resumed behind that."""

from __future__ import annotations

import logging
from collections.abc import Collection

from lightning.pytorch import LightningModule

log = logging.getLogger("ckpt_callbacks")
_SHOWN = 3


def frozen(module: LightningModule) -> list[str]:
    """The names of the parameters that have no gradients."""
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def freeze(module: LightningModule, wanted: Collection[str]) -> None:
    """Let ``wanted`` have no gradients, and all others have some; says where that changes anything."""
    wanted, changed = set(wanted), []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad is (name in wanted):
            parameter.requires_grad_(name not in wanted)
            changed.append(f"{name} ({'frozen' if name in wanted else 'trained'})")
    if changed:
        shown = changed[:_SHOWN] + [f"and {len(changed) - _SHOWN} more"] * (len(changed) > _SHOWN)
        log.warning("as when the checkpoint was taken, and not as in the script: %s", ", ".join(shown))
