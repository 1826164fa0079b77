"""Warnings about a run in which no checkpoint can be the best."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..events import Event
from ..policy.metric import Metric
from ..policy.missing_metrics import never_measured
from ..policy.policy import Policy
from ..policy.state import State
from ..policy.unranked import ignores_measurements, ranking_metrics, why_unranked
from ..record import Record
from .view import RunView

log = logging.getLogger("ckpt_callbacks")

_ENOUGH = 2  # measurements without a save


class UnrankedWarning:
    """Warns once for each metric by which no checkpoint of a run ranks.

    Args:
        view: The run's checkpoints.
        policy: The run's policy.
    """

    def __init__(self, view: RunView, policy: Policy) -> None:
        self._view, self._policy = view, policy
        self._named: set[str] = set()
        self._last_save = -1
        # The steps at which a metric was measured. A rule for epochs or metrics may yet save at such a step.
        self._measured: dict[Metric, set[int]] = {}
        if ignores_measurements(policy):
            self._measured = {metric: set() for metric in ranking_metrics(policy)}

    def observe(self, event: Event, saves: bool, state: State) -> None:
        """Log a metric whose first measurements came at steps that were not saved.

        Args:
            event: The event that was decided last.
            saves: Whether the decision was to save.
            state: The state after it.
        """
        self._last_save = event.step if saves else self._last_save
        for metric, steps in tuple(self._measured.items()):
            track = state.tracks.get(self._policy.tracks[metric])
            if track is None or track.best is None:
                continue
            is_measured = metric.measure_at(event) is not None
            steps |= {event.step} if is_measured else set()
            if self._last_save in steps:
                del self._measured[metric]
            elif is_measured and len(steps) >= _ENOUGH and (records := self._view.records()):
                del self._measured[metric]
                self._name(metric, state, records, "so far, ")

    def report(self, state: State, records: Sequence[Record]) -> None:
        """Log the metrics that rank none of a fit's records, and those that no rule has ever seen.

        Call it at the fit's end, when all saves are done.
        """
        if not records or not state.epoch:  # a trial of a few steps
            return
        for metric in ranking_metrics(self._policy):
            self._name(metric, state, records, "")
        for metric, why in never_measured(self._policy, state):
            if metric.name not in self._named:
                self._named.add(metric.name)
                log.warning(
                    "%s: the rules that read %s never ran: %s", self._view.manifest.layout.dirpath, metric.name, why
                )

    def _name(self, metric: Metric, state: State, records: Sequence[Record], when: str) -> None:
        why = why_unranked(metric, self._policy, state, records, self._view.failed())
        if why and metric.name not in self._named:
            self._named.add(metric.name)
            log.warning(
                "%s: %sno checkpoint of this run is the best by %s: %s", self._view.manifest.layout.dirpath, when,
                metric.name, why,
            )  # fmt: skip
