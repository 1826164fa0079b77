"""Weights in a checkpoint that a new model of the same class will not load."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from ..errors import listed
from ..formats import Shapes
from .model_mismatch import decides_what_fits, expected_shapes, shapes_of, specially_loaded

log = logging.getLogger("ckpt_callbacks")


class UnloadableWeights:
    """Logs once, at the first affected save, why a resume will refuse the weights.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._at_start: dict[str, tuple[int, ...]] | None = None
        self._latest: Shapes | None = None  # the shapes at the last save, if nothing was wrong with them

    def begin(self) -> None:
        """Note the shapes with which a fit begins. A new model has them when it loads a checkpoint."""
        if not decides_what_fits(self._trainer):
            self._at_start = expected_shapes(self._trainer.lightning_module)

    def check(self, saved: Mapping[str, Any], shapes: Shapes) -> None:
        """Check the ``state_dict`` of a checkpoint that is about to be saved.

        Args:
            saved: The ``state_dict``.
            shapes: The names and shapes of its tensors.
        """
        if self._at_start is None or shapes == self._latest:
            return
        self._latest = shapes
        special = tuple(specially_loaded(self._trainer.lightning_module))
        found = shapes_of(saved, special)
        if (why := _why(found, self._at_start)) is not None:
            self._at_start = None
            log.warning("these checkpoints %s", why)


def _why(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str | None:
    if missing := [name for name in expected if name not in found]:
        return (
            f"lack weights of the model ({listed(missing)}), so a resume will refuse them; expected all weights, or "
            "self.strict_loading = False in the module"
        )
    if unknown := [name for name in found if name not in expected]:
        return (
            f"hold weights that the model lacks when it is built ({listed(unknown)}), so a resume will refuse them; "
            "create them before training, or in the module's on_load_checkpoint(checkpoint)"
        )
    if grown := [
        f"{name} from {expected[name]} to {shape}" for name, shape in found.items() if shape != expected[name]
    ]:
        return (
            f"hold weights that have changed their shape in training ({listed(grown)}), so a resume will refuse them; "
            "give them the shape of the file in the module's on_load_checkpoint(checkpoint)"
        )
    return None
