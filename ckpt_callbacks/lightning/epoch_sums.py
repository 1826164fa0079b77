"""The sums of what the training loop has logged in the running epoch, which become the epoch's metrics at its end.

Lightning loses them on resume, so an epoch's mean would cover only its last batches.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync

from .metric_states import covers_epoch

_PLAIN = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def epoch_sums(trainer: Trainer) -> list[dict[str, Any]]:
    """Return this process's sums of the epoch's metrics, in types that `torch.load(weights_only=True)` reads back.

    `torchmetrics` objects that were logged are left out; see `metric_states`.
    """
    sums = []
    for key, item in trainer.fit_loop.epoch_loop._results.items():
        meta = item.meta
        if not item.is_tensor or item.has_reset or meta.dataloader_idx is not None or meta.sync.group is not None:
            continue
        fields = {name: getattr(meta, name) for name in _PLAIN}
        sums.append(
            fields
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
    return sums


def covers_last_batches(item: _ResultMetric) -> bool:
    """Return whether a metric may cover only the last batches of an epoch that was resumed midway.

    This applies to torchmetrics objects that were not restored, and to metrics that were logged in
    ``on_train_epoch_end``, because a module usually computes these from what it has collected in each batch.
    """
    if not item.is_tensor:
        return not covers_epoch(item.value)
    return bool(item.meta.fx == "on_train_epoch_end")


def restore_epoch_sums(trainer: Trainer, sums: list[dict[str, Any]]) -> None:
    """Restore what `epoch_sums` found, so that the epoch's metrics cover all of its batches."""
    device = trainer.strategy.root_device
    for fields in sums:
        meta = _Metadata(**{name: fields[name] for name in _PLAIN}, reduce_fx=fields["reduce_fx"])
        meta.sync = _Sync(
            _should=fields["sync_dist"],
            fn=trainer.strategy.reduce,
            _group=None,
            rank_zero_only=fields["rank_zero_only"],
        )
        item = _ResultMetric(meta, True)
        item.value, item._forward_cache = fields["value"], fields["last"]
        if fields["batch_size"] is not None:
            item.cumulated_batch_size = torch.tensor(fields["batch_size"])
        item._update_count = fields["updates"]
        trainer.fit_loop.epoch_loop._results[fields["key"]] = item.to(device)
    if sums:
        trainer._logger_connector._first_loop_iter = False  # otherwise the next batch would count as the epoch's first
