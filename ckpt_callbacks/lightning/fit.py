"""How the Lightning callback tells its run what happens, and saves what the run decides to save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Trainer

from ..events import EventKind
from ..formats.torch.equality import same_weights
from ..policy.decision import Decision
from ..run.run import Run
from ..run.snapshot import Snapshot
from ..torch.staging import expected_size
from . import loops
from .averaging import Averages
from .checkpoint_io import StagedCheckpointIO
from .gate import Resting
from .metadata import training_facts
from .metrics import FreshMetrics
from .progress import Place, Position

log = logging.getLogger("ckpt_callbacks")


class Observing:
    """The part of the callback that is no hook."""

    _run: Run
    _io: StagedCheckpointIO | None = None
    _restored: dict[str, Any] | None = None  # the state of this callback in the checkpoint that is resumed from
    _loaders: Sequence[dict[str, Any]] = ()  # and those of stateful loaders

    def _reset(self, active: bool = False) -> None:
        self._active = active
        self._started = False
        self._validated = False
        self._step = self._epochs = 0
        self._ended_at: int | None = None  # the step at which a wind-down was met with a save
        self._waiting: tuple[int, dict[str, float]] | None = None
        self._position = Position()
        self._fresh = FreshMetrics()
        self._averages = Averages()
        self._resting = Resting(self._run)
        self._prepared = False
        self._resumed_at: int | None = None  # the step of the checkpoint that was loaded first

    def _prepare(self, trainer: Trainer) -> None:
        """The first optimizer step is done: what a checkpoint takes is known."""
        self._prepared = True
        if trainer.is_global_zero and self._io.copies:
            size, staging = expected_size(trainer, self._run.contents == "weights"), self._io.staging
            self._run.prepare(lambda: staging.prepare(size))

    def _stage(self) -> Snapshot:
        def stage() -> Snapshot:
            return self._io.stage(self._run.facts(), weights_only=self._run.contents == "weights")

        return self._averages.apart(self._io.trainer, stage, self._io.staging.wait)

    def _observe(
        self,
        trainer: Trainer,
        kind: EventKind,
        metrics: dict[str, float],
        *,
        complete: bool = False,
        unchanged: bool = False,
    ) -> None:
        decision = self._run.observe(
            kind,
            step=self._step,
            epoch=self._epochs,
            metrics=metrics,
            complete=complete,
            unchanged=unchanged,
            stage=self._stage,
            same=same_weights if kind is EventKind.END else None,
            metadata=lambda: training_facts(trainer),
        )
        if kind is not EventKind.STEP_END:  # in what comes next, others put other weights into the model, and back
            self._io.staging.wait()
        self._obey(trainer, decision, together=kind in (EventKind.VALIDATION_END, EventKind.EPOCH_END))

    def _tell_loggers(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.after_save_checkpoint(self)

    def _answer(self, trainer: Trainer) -> None:
        self._run.answer(
            step=self._step,
            epoch=self._epochs,
            stage=self._stage,
            metadata=lambda: training_facts(trainer),
        )
        self._io.staging.wait()  # before, or within, a validation: as in `_observe`

    def _answer_within_validation(self, trainer: Trainer) -> None:
        # Several processes may validate different numbers of batches, so that they could not agree here.
        waiting = self._active and self._started and self._position.place is Place.VALIDATION
        if waiting and self._run.peers.alone and not trainer.sanity_checking:
            self._answer(trainer)

    def _obey(self, trainer: Trainer, decision: Decision, together: bool = False) -> None:
        stop = decision.stop is not None
        if together:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop and not trainer.should_stop:
            trainer.should_stop = True
            log.warning("stopping: %s", "; ".join(decision.stop.reasons if decision.stop else ("another process",)))

    def _save_before_winding_down(self, trainer: Trainer, unchanged: bool) -> None:
        # What Lightning does from here on (a validation, the end of a partial epoch) no resumed run could tell apart
        # from a whole epoch; so a resume starts from what is saved here.
        if loops.winding_down(trainer) and self._ended_at != self._step:
            self._ended_at = self._step
            self._observe(trainer, EventKind.END, {}, unchanged=unchanged)

    def _release(self, trainer: Trainer, close: Callable[[], object]) -> None:
        try:
            close()
        finally:  # a logger may raise
            if self._io is not None:
                self._io.before_optimizer_step()
                self._io.staging.release()
                self._io.remove()
            self._io = None
            self._active = False
            self._restored = None
