"""The engine with its state and its clocks: it takes events and returns decisions."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable

from ..events import Event, EventKind, same_weights
from ..policy.decision import Decision
from ..policy.engine import deadline_is_due, decide, decide_before_error, horizon
from ..policy.filename import FileName
from ..policy.horizon import Horizon
from ..policy.missing_metrics import not_logged, unwatched, warnings
from ..policy.policy import Policy
from ..policy.state import State
from ..runtime.clock import Clock
from ..runtime.environment import job_end
from ..runtime.processes import Agreement, Processes

log = logging.getLogger("ckpt_callbacks")

SAFE_POINTS = (EventKind.STEP_END, EventKind.VALIDATION_END, EventKind.EPOCH_END)

_SECOND = 10**9  # nanoseconds

_SHARED = (EventKind.VALIDATION_END, EventKind.EPOCH_END)  # events that may always carry metrics


class Decider:
    """A policy, its state, and the clocks that the engine does not read itself.

    Args:
        policy: The policy.
        clock: The run's clock.
        filename: Template of the file names. The names in it are checked once all metrics could have been logged.
        metadata: Names that the template may use in addition to metrics.

    Attributes:
        state: The engine's state after the last event.
        time_zero: When training time began, on the clock.
    """

    def __init__(self, policy: Policy, clock: Clock, filename: FileName, metadata: Iterable[str] = ()) -> None:
        self._policy, self._clock, self._filename, self._metadata = policy, clock, filename, metadata
        self.state = State()
        self.time_zero = 0.0
        self._deadline = job_end()
        self._measured: Event | None = None  # the last event of a finished step, whose metrics belong to its weights
        self._names_checked = False
        self._not_finite: set[str] = set()  # metrics that were named

    @property
    def horizon(self) -> Horizon:
        """The point until which the policy decides nothing."""
        return horizon(self._policy, self.state, self._deadline)

    @property
    def lacks_deadline(self) -> bool:
        """True if a rule depends on the end of the job, and that time is unknown."""
        return self._deadline is None and any(leaf.end is None for leaf in self._policy.deadlines)

    def begin(self) -> None:
        """Begin a training run: from now on, training time continues from the time in the state."""
        self.time_zero = self._clock.monotonic() - self.state.time
        self._measured = None

    def clocks(self) -> dict[str, int]:
        """Return the times of this process as the fields of `Agreement`."""
        time, wall = self._clock.monotonic() - self.time_zero, self._clock.wall()
        end = -1 if self._deadline is None else round(self._deadline * _SECOND)
        return {"time": round(time * _SECOND), "wall": round(wall * _SECOND), "deadline": end}

    def decide(
        self, event: Event, processes: Processes, agreement: Agreement | None = None
    ) -> tuple[Decision, Event]:  # fmt: skip
        """Fold one event into the state. Collective if processes must agree.

        Args:
            event: What happened.
            processes: The processes that train together.
            agreement: What they have agreed on about this step; None if they have not.

        Returns:
            What to do about it, and the event with its clocks stamped.
        """
        event = self.stamped(event, processes, agreement)
        self.state, decision = decide_before_error(self._policy, self.state, event)
        self._name_not_finite(event)
        if event.kind in SAFE_POINTS:
            self._measured = event
        if event.complete and not decision.error:
            self._check_names(event.others)
        return decision, event

    def measured_at(self, event: Event) -> Event:
        """Return the event whose metrics are those of the weights at ``event``, which was decided last.

        If nothing has changed the weights since an earlier event, that event is returned.
        """
        measured = self._measured
        return measured if measured is not None and same_weights(measured, event) else event

    def settle(self, outcome: Event) -> None:
        """Fold the outcome of a save into the state."""
        self.state, _ = decide(self._policy, self.state, outcome)

    def deadline_is_due(self, event: Event, processes: Processes) -> bool:
        """Return True if the job ends so soon that a save at ``event`` cannot wait for a validation's metrics."""
        if not self._policy.deadlines:
            return False
        return deadline_is_due(self._policy, self.state, self.stamped(event, processes))

    def _name_not_finite(self, event: Event) -> None:
        for name, value in event.metrics.items():
            if not math.isfinite(value) and name in self._policy.monitored and name not in self._not_finite:
                self._not_finite.add(name)
                log.warning(
                    "the metric %r is %s at step %d; such a value never ranks (logged once)", name, value, event.step
                )

    def _check_names(self, others: frozenset[str]) -> None:
        for line in warnings(self._policy, self.state, others):
            log.warning("%s", line)
        if self._names_checked:
            return
        self._names_checked, logged = True, self.state.fresh_names
        fields = self._filename.unknown({*logged, *self._metadata})
        for field in (name for name in fields if name in others):
            log.warning(
                "filename: {%s} is logged at each batch only, so file names cannot contain it; to log its mean over "
                "the epoch, pass on_epoch=True", field,
            )  # fmt: skip
        if unknown := [name for name in fields if name not in others]:
            log.warning("filename: {%s} %s", "}, {".join(unknown), not_logged(unknown, self.state, others))
        if strange := unwatched(self._policy, self.state):
            log.warning("NonFinite: %s %s", ", ".join(map(repr, strange)), not_logged(strange, self.state, others))

    def stamped(self, event: Event, processes: Processes, agreement: Agreement | None = None) -> Event:
        """Return the event with the clocks, and what processes that train together must agree on; see `decide`."""
        time, wall = self._clock.monotonic() - self.time_zero, self._clock.wall()
        deadline, metrics, others = self._deadline, event.metrics, event.others
        # Processes may measure different values, or only some processes may measure any, but all must act alike. This
        # does not depend on what this process itself has measured, so that no process waits for the others in vain.
        if agreement is not None and not agreement.measured:  # the agreement contains all that they must share
            time, wall = agreement.time / _SECOND, agreement.wall / _SECOND
            deadline = None if agreement.deadline == -1 else agreement.deadline / _SECOND
        elif agreement is not None or event.kind in _SHARED or self._policy.may_differ_across_ranks:
            time, wall, deadline, metrics, others = processes.broadcast((time, wall, deadline, metrics, others))
        return dataclasses.replace(event, time=time, wall=wall, metrics=metrics, others=others, deadline=deadline)
