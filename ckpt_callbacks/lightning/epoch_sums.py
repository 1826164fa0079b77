"""What the training loop has logged in the running epoch: sums that become the epoch's metrics at its end.

Lightning forgets them over a resume, so that an epoch's mean would be that of its last batches alone.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync

_PLAIN = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def running_results(trainer: Trainer) -> list[dict[str, Any]]:
    """The sums of this process, in types that `torch.load(weights_only=True)` reads back.

    `torchmetrics` objects that were logged are left out: their state is the user's module's.
    """
    found = []
    for key, item in trainer.fit_loop.epoch_loop._results.items():
        meta = item.meta
        if not item.is_tensor or item.has_reset or meta.dataloader_idx is not None or meta.sync.group is not None:
            continue
        facts = {name: getattr(meta, name) for name in _PLAIN}
        found.append(
            facts
            | {
                "key": key,
                "reduce_fx": meta.reduce_fx.__name__,
                "sync_dist": meta.sync.should,
                "rank_zero_only": meta.sync.rank_zero_only,
                "value": item.value.detach().clone(),
                "last": None if item._forward_cache is None else item._forward_cache.detach().clone(),
                "batch_size": int(item.cumulated_batch_size) if meta.is_mean_reduction else None,
                "updates": int(item._update_count),
            }
        )
    return found


def forgotten_results(trainer: Trainer) -> list[str]:
    """Names of the running epoch's metrics that `running_results` leaves out."""
    results = trainer.fit_loop.epoch_loop._results.values()
    return sorted({item.meta.name for item in results if not item.is_tensor and item.meta.on_epoch})


def restore_results(trainer: Trainer, results: list[dict[str, Any]]) -> None:
    """Put back what `running_results` found, so that the epoch's metrics cover all of its batches."""
    device = trainer.strategy.root_device
    for facts in results:
        meta = _Metadata(**{name: facts[name] for name in _PLAIN}, reduce_fx=facts["reduce_fx"])
        meta.sync = _Sync(
            _should=facts["sync_dist"], fn=trainer.strategy.reduce, _group=None, rank_zero_only=facts["rank_zero_only"]
        )
        item = _ResultMetric(meta, True)
        item.value, item._forward_cache = facts["value"], facts["last"]
        if facts["batch_size"] is not None:
            item.cumulated_batch_size = torch.tensor(facts["batch_size"])
        item._update_count = facts["updates"]
        trainer.fit_loop.epoch_loop._results[facts["key"]] = item.to(device)
    if results:
        trainer._logger_connector._first_loop_iter = False  # else the next batch would count as the epoch's first
