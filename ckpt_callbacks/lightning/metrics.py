"""Newly measured metrics. `trainer.callback_metrics` keeps old values among the new ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer

from ..policy.policy import Policy
from .epoch_sums import covers_last_batches

log = logging.getLogger("ckpt_callbacks")


class FreshMetrics:
    """Distinguishes newly measured metrics from older ones that `trainer.callback_metrics` still holds."""

    def __init__(self) -> None:
        self._last_steps: dict[str, Any] = {}
        self._others: dict[str, Any] = {}
        self._kept: tuple[Mapping[str, float], int] = {}, 0
        self._mentioned: set[str] = set()

    def begin(self, trainer: Trainer, kept: Mapping[str, float]) -> None:
        """Treat all present metrics as old, including those that a resume has restored.

        Args:
            trainer: The trainer.
            kept: The metrics that were kept when the checkpoint was taken.
        """
        self._others, self._kept = dict(trainer.callback_metrics), (kept, 0)
        results = trainer.fit_loop.epoch_loop._results
        self._last_steps = {_step_name(item): item._forward_cache for item in results.values()}

    def of_epoch(self, trainer: Trainer, partial: bool = False) -> dict[str, float]:
        """Return what the loop that ends now (training epoch or validation) logged at epoch level.

        Args:
            trainer: The trainer.
            partial: True if another process began the training epoch. Metrics that may cover only its last batches are
                then left out, and this is logged.
        """
        values = trainer.callback_metrics
        items = [item for item in _items(trainer) if item.meta.on_epoch]
        kept = [item for item in items if not (partial and covers_last_batches(item))]
        names = [name for item in kept for name in _names(item, on_step=False)]
        fresh, by_hand = {name: values[name] for name in names if name in values}, self._set_by_hand(trainer, values)
        left_out = {item.meta.name for item in items} - {item.meta.name for item in kept}
        if partial and (unknown := sorted(left_out | by_hand.keys())):
            log.warning(
                "the epoch was resumed midway; the policy leaves out metrics that may cover only its last batches: %s",
                ", ".join(unknown),
            )
        return {name: _number(value) for name, value in fresh.items()} | ({} if partial else by_hand)

    def of_batches(self, trainer: Trainer) -> frozenset[str]:
        """Return the names of the values that were logged at step level in the epoch that ends now."""
        results = trainer.fit_loop.epoch_loop._results
        return frozenset(_step_name(item) for item in results.values() if item.meta.on_step)

    def keep(self, metrics: dict[str, float], batches: int) -> None:
        """Keep metrics that belong to a later event, for `take`.

        Args:
            metrics: The metrics of a validation, or of a batch before a validation or the end of an epoch.
            batches: The number of batches done.
        """
        self._kept = metrics, batches

    def kept(self, batches: int) -> dict[str, float]:
        """Return the kept metrics, if they were measured after the same number of ``batches``; otherwise, none."""
        metrics, at = self._kept
        return dict(metrics) if at == batches else {}

    def take(self, batches: int) -> dict[str, float]:
        """Return the kept metrics once."""
        metrics, self._kept = self.kept(batches), ({}, 0)
        return metrics

    def of_step(self, trainer: Trainer, policy: Policy, later: int | None) -> dict[str, float]:
        """Return the metrics of the policy that were logged at step level in the batch that ends now.

        If a metric is logged by step and by epoch, its name is that of the epoch's value; see `_step_name`.

        Args:
            trainer: The trainer.
            policy: The policy.
            later: The number of batches done, if a later event reports these metrics: they are passed to `keep`, and
                an empty dictionary is returned. None if they are reported now.
        """
        fresh = {}
        for item in _items(trainer):
            if item.meta.on_step and (name := _step_name(item)) in policy.monitored:
                value = item._forward_cache
                if value is not None and self._last_steps.get(name) is not value:
                    self._last_steps[name] = value
                    fresh[name] = _number(value)
                    self._mention(item, policy)
        if later is not None:
            self.keep(fresh, later)
        return fresh if later is None else {}

    def _mention(self, item: Any, policy: Policy) -> None:
        """Log once that of all batches of an epoch only the last one is compared."""
        name = item.meta.name
        if item.meta.on_epoch or name in self._mentioned:
            return
        self._mentioned.add(name)
        if any(name in metric.names and metric.per == "epoch" for metric in policy.tracks):
            log.warning(
                "%s is logged at each batch, and not by epoch: the policy compares only its last value before the end "
                "of an epoch or validation; to compare the mean of the epoch, log it with on_epoch=True, and to "
                "compare each batch, set Metric(per='step')",
                name,
            )

    def _set_by_hand(self, trainer: Trainer, values: dict[str, Any]) -> dict[str, float]:
        # Some callbacks write into `trainer.callback_metrics` themselves. A value is new if it is a different object.
        loops = trainer.fit_loop.epoch_loop
        logged = {n for r in (loops._results, loops.val_loop._results) for i in r.values() for n in _names(i, None)}
        fresh = {}
        for name, value in values.items():
            if name not in logged and self._others.get(name) is not value:
                self._others[name] = value
                fresh[name] = _number(value)
        return fresh


def has_step_metrics(results: Mapping[str, Any], wanted: frozenset[str]) -> bool:
    """Return whether some of the ``wanted`` metrics are logged at step level, as far as an epoch's ``results`` show."""
    return any(item.meta.on_step and _step_name(item) in wanted for item in results.values())


def names_of_validation(trainer: Trainer) -> frozenset[str]:
    """Return the names of all metrics that the last validation has logged."""
    results = trainer.fit_loop.epoch_loop.val_loop._results
    return frozenset(trainer.callback_metrics).union(*(_names(item, None) for item in results.values()))


def _items(trainer: Trainer) -> Iterator[Any]:
    return (item for item in (trainer._results or {}).values() if not item.has_reset)


def _step_name(item: Any) -> str:
    """Return the name of a batch's value; with ``_step`` if the metric is logged by epoch as well."""
    name: str = item.meta.forked_name(True)
    return name


def _names(item: Any, on_step: bool | None) -> Iterator[str]:
    meta = item.meta
    suffix = ""
    if meta.add_dataloader_idx and meta.dataloader_idx is not None:
        suffix = f"/dataloader_idx_{meta.dataloader_idx}"
    yield meta.name + suffix
    for step in (True, False) if on_step is None else (on_step,):
        yield meta.forked_name(step) + suffix


def _number(value: Any) -> float:
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
