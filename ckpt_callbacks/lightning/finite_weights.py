"""The search for NaN in the weights of a model, of which each process may hold a part."""

from __future__ import annotations

from lightning.pytorch import Trainer

from ..torch.trained_tensors import are_finite, trained_parts


def weights_are_finite(trainer: Trainer) -> bool:
    """Return False if a trained weight holds NaN or an infinity in any process. Collective."""
    own = are_finite(trained_parts(trainer.lightning_module))
    return trainer.strategy.reduce_boolean_decision(own, all=True)
