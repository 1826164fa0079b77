"""The attributes of ModelCheckpoint that loggers and ``ckpt_path="best"`` read from a checkpoint callback."""

from __future__ import annotations

import os

import torch
from lightning.pytorch import Trainer

from ..policy.ranking import ranked_records
from ..policy.retention import KeepAll, KeepBest
from ..record import Record
from ..run.reader import RunReader
from .missing_best import refuse_best


class ModelCheckpointAttributes(RunReader):
    """The attributes of ModelCheckpoint, with values from the manifest."""

    save_last = True
    _told_of: Record | None = None  # what the loggers are told of; meanwhile, a later one may have been saved

    @property
    def save_top_k(self) -> int:
        # With -1, loggers with log_model=True upload each save at once; otherwise, what is left at the end.
        rules = self._run.policy.keep.parts()
        if any(isinstance(rule, KeepAll) for rule in rules):
            return -1
        return max((rule.n for rule in rules if isinstance(rule, KeepBest)), default=1)

    @property
    def best_model_path(self) -> str:
        if self._placed is None:
            return ""
        if self._best() is None:
            refuse_best(self._run)
        record = self.best()
        return str(record.path) if record else ""

    @best_model_path.setter
    def best_model_path(self, path: str) -> None:
        """Accept what Lightning brings back from the processes that it has started; the manifest says the same."""
        if self._placed is None and os.path.isfile(path):
            self._place(os.path.dirname(path))

    @property
    def last_model_path(self) -> str:
        record = self._told_of or self.last()
        return str(record.path) if record else ""

    @property
    def best_model_score(self) -> torch.Tensor | None:
        return self._score(self._best())

    @property
    def current_score(self) -> torch.Tensor | None:
        return self._score(self._told_of or self.last())

    @property
    def best_k_models(self) -> dict[str, torch.Tensor]:
        metric, most = self._run.policy.best_metric, self.save_top_k
        ranked = [] if metric is None else ranked_records(self.records(), metric)
        best = ranked if most < 0 else ranked[:most]
        return {str(r.path): score for r in best if (score := self._score(r)) is not None}

    @property
    def save_weights_only(self) -> bool:
        return self._run.settings.contents == "weights"

    @property
    def monitor(self) -> str | None:
        metric = self._run.policy.best_metric
        return metric.name if metric else None

    @property
    def mode(self) -> str:
        metric = self._run.policy.best_metric
        return (metric and metric.mode) or "min"

    def _notify_loggers(self, trainer: Trainer, record: Record) -> None:
        self._told_of = record
        try:
            for logger in trainer.loggers:
                logger.after_save_checkpoint(self)
        finally:
            self._told_of = None

    def _score(self, record: Record | None) -> torch.Tensor | None:
        metric = self._run.policy.best_metric
        score = metric.score(record) if metric and record else None
        return None if score is None else torch.tensor(score)
