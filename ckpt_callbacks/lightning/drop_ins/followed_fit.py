"""One call of `Trainer.fit` whose checkpoints other code decides on and names, from its `setup` to its end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ...events import Event, EventKind
from ...run.run import Run
from .. import loops, validations
from ..embedded import Place
from ..fit import Fit
from ..fit_call import is_resuming, path_being_loaded
from ..previous_fit import PreviousFit
from ..processes import TrainerProcesses
from ..resume_point import ResumePoint
from .decisions import Decisions

Request = Callable[[Event], object]


class FollowedFit(Fit):
    """A fit that carries out requests at the next place from which a resume is exact.

    Args:
        run: The run of the directory.
        trainer: The trainer.
        staging: ``memory`` or ``none``.

    Attributes:
        run: As given.
    """

    def __init__(self, run: Run, trainer: Trainer, staging: str) -> None:
        super().__init__(run, trainer, staging, lambda record: None, PreviousFit("never"))
        self.run = run
        self._requests: deque[Request] = deque()
        self._is_carrying_out = self._has_ended_epoch = False
        self._thread = threading.get_ident()  # that of the training

    def follow(self) -> None:
        """Take part in saving and loading. Nothing is created before the first save."""
        self._run.processes = TrainerProcesses(self._trainer)
        self._run.open()
        self.io.install()

    def resume(
        self, checkpoint: dict[str, Any], state: Mapping[str, Any] | None, run: Mapping[str, Any] | None
    ) -> None:
        """Process a checkpoint that Lightning loads.

        Args:
            checkpoint: What was loaded.
            state: The state of the fit in it; None in a file of the original callback.
            run: The state of the run of this directory; None if it has none.
        """
        if not is_resuming():
            return
        self._resumed_at = checkpoint.get("global_step", 0)
        if state is not None:
            self._resume_point = ResumePoint.of(self._trainer, self._run, checkpoint, state)
        path = path_being_loaded()
        self._run.named.left.loaded = None if path is None else Path(path)
        self._run.restore(run, path)

    def begin(self) -> None:
        self._progress.begin_fit()
        self.io.weights.begin()
        others = (one for one in self._trainer.callbacks if not isinstance(one, Decisions))
        self._run.named.left.wanted = not any(isinstance(one, ModelCheckpoint) for one in others)
        if self._resume_point is not None:
            self._resume_point.optimizers.refuse_others(self._trainer)

    def ask(self, request: Request) -> None:
        """Have a request carried out at the next place from which a resume is exact, in the order of the calls."""
        self._requests.append(request)

    @property
    def is_asked(self) -> bool:
        """Whether a request waits."""
        return bool(self._requests)

    def carry_out(self, kind: EventKind = EventKind.STEP_END, metrics: Mapping[str, float] | None = None) -> None:
        """Carry out all requests now.

        Args:
            kind: The kind of the event at which they are carried out.
            metrics: What was measured at its weights.
        """
        if not self._requests:
            return
        step, batches = self._progress.steps.now(self._trainer), self._trained.batches
        event = Event(kind, step, self._epochs, metrics=metrics or {}, batches=batches)
        self._is_carrying_out = True
        try:
            while self._requests:
                self._requests.popleft()(event)
        finally:
            self._is_carrying_out = False
        if kind is not EventKind.STEP_END:
            self.io.staging.wait()

    def carry_out_now(self) -> None:
        """Carry out all requests within a hook, because somebody needs a file. All processes call it together.

        What other callbacks and the module still do in that hook is not in the file, and is not done again on resume.
        """
        if not self._requests or self._is_carrying_out or threading.get_ident() != self._thread:
            return
        if not self._is_training:
            self.carry_out()
        elif loops.epoch_is_ending(self._trainer):
            self.end_epoch()
        else:
            interval, self._progress.plateau_interval = self._progress.plateau_interval, self._find_place()
            self.carry_out()
            self._progress.plateau_interval = interval
        self.io.staging.wait()  # what runs next may change the weights

    def _find_place(self) -> str | None:
        """Find the place for which the running hook stands; return which steps of ReduceLROnPlateau come after it."""
        trainer = self._trainer
        whole, in_batch = loops.epoch_is_whole(trainer), loops.batch_is_ending(trainer)
        if in_batch and validations.validation_follows(trainer):
            self._progress.await_validation(trainer)
        elif whole:
            self._progress.finish_batches()
        else:
            self._progress.continue_epoch()
        return "step" if in_batch else None

    def end_batch(self) -> None:
        super().end_batch()
        if not loops.epoch_is_whole(self._trainer):  # it was no step, or a request is carried out already
            self.carry_out()
        elif self._progress.place is Place.TRAINED:
            self.carry_out()
            self.io.staging.wait()  # the hooks of the epoch's end may change the weights

    def end_validation(self, metrics: dict[str, float]) -> None:
        super().end_validation(metrics)
        self.carry_out(EventKind.VALIDATION_END, metrics)

    def start_epoch(self) -> None:
        super().start_epoch()
        self._has_ended_epoch = False

    def end_epoch(self) -> None:
        if not self._has_ended_epoch:
            self._has_ended_epoch = True
            super().end_epoch()
        self.carry_out(EventKind.EPOCH_END)  # of an epoch that was cut short, or what was asked for since

    def fail(self, exception: BaseException) -> None:
        try:
            can_save = self._is_training and self._run.processes.is_single and self._run.is_open
            if self._requests and can_save and not self._trained.keep_out(self._run.dirpath):
                self.carry_out(EventKind.EXCEPTION)
        finally:
            self._requests.clear()
            self._run.named.left.finish(0)  # the process may have to end soon
            super().fail(exception)

    def end(self) -> None:
        if (point := self._resume_point) is not None:  # it never began to train
            loops.apply_plateau_steps(self._trainer, point.state.plateau_steps)
            point.end(self._trainer)
        self.carry_out(EventKind.END)
        self._run.named.left.finish()
        self._close(self._run.end)

    def _observe(self, kind: EventKind, metrics: dict[str, float], **facts: Any) -> None:
        super()._observe(kind, metrics, **facts)
        if kind is not EventKind.EXCEPTION:
            self.carry_out(kind, metrics)

    def _save_if_urgent(self) -> None:
        super()._save_if_urgent()
        if self._requests:
            self.carry_out()
            self.io.staging.wait()
