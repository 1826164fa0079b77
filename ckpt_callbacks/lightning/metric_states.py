"""The states of the torchmetrics objects that the training loop has logged in the running epoch.

They are no part of the module's state dict, so a resume would begin them anew, and the epoch's metrics would cover only
its last batches.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torchmetrics import Metric, MetricCollection

from ..torch.module_tree import parts_by_name
from . import loops

_MOST = 64 << 20  # bytes; some metrics keep every prediction of the epoch

# The objects that cover a resumed epoch from its beginning, by id: their hash changes with their state.
_restored: weakref.WeakValueDictionary[int, Metric] = weakref.WeakValueDictionary()


def metric_states(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Return the states of this process by place in the module, in types that `torch.load(weights_only=True)` reads."""
    found = {}
    for place, metric in _logged(trainer).items():
        if _can_save(metric):
            for name, part in _parts(place, metric):
                states = {key: _copied(value) for key, value in part.metric_state.items()}
                found[name] = {"states": states, "updates": part.update_count}
    return found


def unsaved_metrics(trainer: Trainer) -> list[str]:
    """Return the names of the running epoch's metrics whose torchmetrics objects `metric_states` leaves out."""
    saved = {id(metric) for metric in _logged(trainer).values() if _can_save(metric)}
    items = _items(trainer)
    return sorted({item.meta.name for item in items if item.meta.on_epoch and id(item.value) not in saved})


def restore_metric_states(trainer: Trainer, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Restore what `metric_states` returned. Metrics that the file does not hold, or holds otherwise, begin anew."""
    device = trainer.strategy.root_device
    for place, metric in trainer.lightning_module.named_modules():
        _restored.pop(id(metric), None)  # of an earlier fit; another thread may train another module
        own = states.get(place)
        if own is None or not isinstance(metric, Metric) or own["states"].keys() != metric.metric_state.keys():
            continue
        for name, value in own["states"].items():
            moved = [part.to(device) for part in value] if isinstance(value, list) else value.to(device)
            setattr(metric, name, moved)
        metric._update_count = own["updates"]
        _restored[id(metric)] = metric


def covers_epoch(metric: Metric) -> bool:
    """Return whether an object was restored, so that it covers a resumed epoch from its beginning."""
    return all(_restored.get(id(part)) is part for _, part in _parts("", metric))


def _logged(trainer: Trainer) -> dict[str, Metric]:
    """Return the objects that were logged and are part of the module, by place in it."""
    logged = {id(item.value) for item in _items(trainer)}
    # At the end of the epoch's last batch, none is left in which a resumed run would log them.
    if not logged or (loops.epoch_is_whole(trainer) and not loops.batch_is_running(trainer)):
        return {}
    found: dict[str, Metric] = {}
    for name, part in parts_by_name(trainer.lightning_module):
        if isinstance(part, MetricCollection):
            part.values(copy_state=False)  # the members of a group share one state, and only one of them is up to date
        elif isinstance(part, Metric) and id(part) in logged:
            found[name] = part
    return found


def _items(trainer: Trainer) -> list[Any]:
    results = trainer.fit_loop.epoch_loop._results.values()
    return [item for item in results if not item.is_tensor and not item.has_reset]


def _parts(place: str, metric: Metric) -> Iterator[tuple[str, Metric]]:
    """Yield a metric, and the metrics that it wraps, with their places in the module."""
    for name, part in metric.named_modules(prefix=place):
        if isinstance(part, Metric):
            yield name, part


def _can_save(metric: Metric) -> bool:
    tensors = [
        tensor
        for _, part in _parts("", metric)
        for value in part.metric_state.values()
        for tensor in (value if isinstance(value, list) else [value])
    ]
    has_state = any(part.metric_state for _, part in _parts("", metric))  # otherwise, it is somewhere else
    are_tensors = all(isinstance(tensor, torch.Tensor) for tensor in tensors)
    return has_state and are_tensors and sum(tensor.nbytes for tensor in tensors) <= _MOST


def _copied(value: Any) -> Any:
    return [part.detach().clone() for part in value] if isinstance(value, list) else value.detach().clone()
