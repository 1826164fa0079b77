"""Gradients that a module accumulates by hand, in manual optimization."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer


class ManualGradients:
    """Distinguishes gradients that an optimizer has used from those that no optimizer has used yet."""

    def __init__(self) -> None:
        self._used: dict[int, tuple[int, int]] = {}

    def use(self, optimizer: torch.optim.Optimizer) -> None:
        """Note that an optimizer steps now. One of its gradients represents all of them."""
        parameter = _with_gradient(optimizer)
        if parameter is not None:
            self._used[id(parameter)] = _version(parameter.grad)

    def are_pending(self, trainer: Trainer) -> bool:
        """Return whether gradients have been accumulated that no optimizer has used."""
        if trainer.lightning_module.automatic_optimization:
            return False
        for optimizer in trainer.optimizers:
            parameter = _with_gradient(optimizer)
            if parameter is None or self._used.get(id(parameter)) == _version(parameter.grad):
                continue
            if any(is_nonzero(p.grad) for group in optimizer.param_groups for p in group["params"]):
                return True
        return False


def _with_gradient(optimizer: torch.optim.Optimizer) -> Any:
    parameters = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    return next(parameters, None)


def _version(gradient: torch.Tensor) -> tuple[int, int]:
    return id(gradient), gradient._version


def is_nonzero(gradient: torch.Tensor | None) -> bool:
    """Return whether there is a gradient that would change something."""
    return gradient is not None and bool((gradient.coalesce().values() if gradient.is_sparse else gradient).any())
