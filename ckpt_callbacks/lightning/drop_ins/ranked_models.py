"""The ranking that ModelCheckpoint keeps in its attributes, and corrections of it."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

Ranked = tuple[str, Tensor]  # a path and its score


def worst(callback: ModelCheckpoint) -> Ranked | None:
    """Return what the next better checkpoint replaces; None if nothing."""
    path, models = callback.kth_best_model_path, callback.best_k_models
    return (path, models[path]) if len(models) == callback.save_top_k and path in models else None


def take_back(callback: ModelCheckpoint, path: str, victim: Ranked | None, best: str, last: str) -> None:
    """Take a checkpoint that was not saved out of the attributes.

    Args:
        callback: The callback.
        path: The path of the checkpoint.
        victim: What it replaced in the ranking.
        best: The best path before.
        last: The last path before.
    """
    if callback.best_k_models.pop(path, None) is not None:
        if victim is not None:
            callback.best_k_models[victim[0]] = victim[1]
        rank(callback)
    elif callback.best_model_path == path:
        callback.best_model_path = best
    if callback.last_model_path == path:
        callback.last_model_path = last


def rank(callback: ModelCheckpoint) -> None:
    """Rank the checkpoints again. One that was saved with NaN, which the original calls infinity, is never the best."""
    models, is_min = callback.best_k_models, callback.mode == "min"
    kth, best = (max, min) if is_min else (min, max)
    nothing = torch.tensor(torch.inf if is_min else -torch.inf)
    if len(models) >= callback.save_top_k > 0 or (callback.save_top_k == -1 and models):
        callback.kth_best_model_path = kth(models, key=models.__getitem__)
        callback.kth_value = models[callback.kth_best_model_path]
    else:
        callback.kth_best_model_path, callback.kth_value = "", nothing
    finite = [path for path, score in models.items() if not torch.equal(score.cpu().double(), nothing.double())]
    callback.best_model_path = best(finite, key=models.__getitem__) if finite else ""
    callback.best_model_score = models[callback.best_model_path] if finite else None
