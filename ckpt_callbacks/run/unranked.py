"""A warning at the end of a run in which no checkpoint could be the best."""

from __future__ import annotations

import logging

from ..policy.policy import Policy
from ..policy.state import State
from ..policy.unranked import ranking_metrics, why_unranked
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


class Unranked:
    """Warns once for each metric by which no checkpoint of a run ranks.

    Args:
        view: The run's checkpoints.
        policy: The run's policy.
    """

    def __init__(self, view: RunView, policy: Policy) -> None:
        self._view, self._policy = view, policy
        self._named: set[str] = set()

    def report(self, state: State) -> None:
        """Log the metrics that rank nothing. Call it at the end of training, when all saves are done."""
        records = self._view.records()
        if not records or not state.epoch:  # a trial of a few steps
            return
        for metric in ranking_metrics(self._policy):
            why = why_unranked(metric, self._policy, state, records)
            if why and metric.name not in self._named:
                self._named.add(metric.name)
                log.warning(
                    "%s: no checkpoint of this run is the best by %s: %s", self._view.manifest.layout.dirpath,
                    metric.name, why,
                )  # fmt: skip
