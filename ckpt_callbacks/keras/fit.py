"""Tells the run what happens in a `fit`, and writes what it wants to have saved."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from ..errors import PolicyError
from ..events import Event, EventKind
from ..policy.decision import Decision
from ..run.run import Run
from ..run.snapshot import Snapshot
from ..run.source import Embedded
from .capture import carry, facts_of, moment_of
from .embedded import Moment
from .fit_call import FitCall
from .guard import Guard, StateIsGone
from .model import lora
from .progress import Progress
from .staging import KerasStaging
from .train_function import put_back

log = logging.getLogger("ckpt_callbacks")


class ObservesFit:
    """The part of `KerasCheckpoint` that watches one `fit` after the other."""

    _run: Run
    _staging: KerasStaging
    _model: keras.Model
    model: keras.Model  # the same; on JAX, reading it brings its variables up to date
    params: dict[str, int]
    _batch_metrics: bool
    _before_validation: Moment | None = None  # what it was when the validation began that goes on

    def _watch(self, model: keras.Model) -> None:
        """A `fit` of ``model`` begins, which the caller is in."""
        put_back(model)  # what the last one left behind, if an exception ended it
        self._fit = FitCall.of(model)
        if self._fit.holds_twice(self):
            raise PolicyError(f"{self.dirpath}: this callback is given to fit() more than once; expected it once")
        if self._fit.validates_averages and self._run.policy.best_metric is not None:
            log.warning(
                "%s: SwapEMAWeights validates averaged weights, and others are saved: the best checkpoint would not be "
                "what was measured; expected SwapEMAWeights(swap_on_epoch=True)", self.dirpath,
            )  # fmt: skip
        self._siblings = self._fit.siblings(self)
        self._progress: Progress  # from the moment on where it is known where it begins
        self._before_validation, self._prepared = None, False
        inexact = (self._fit.inexact, lora.INEXACT if lora.has_lora(model) else None)
        self._inexact = "; ".join(filter(None, inexact)) or None  # to be said at the first save

    def _watch_for_exceptions(self, model: keras.Model) -> None:
        if self._run.policy.saves_on_exception:
            failed = _weakly(self._save_failed_step)
            Guard(model, failed)
            self._fit.guard_data(failed)

    def _begin_validation(self) -> None:
        model = self.model
        if self._progress.begin_validation(model):
            self._before_validation = moment_of(model, self._siblings)
            self._save_what_cannot_wait()

    def _release(self, close: Callable[[], object] | None = None) -> None:
        self._active = False  # between the beginning and the end of a `fit`
        put_back(self._model)
        try:
            (close or self._run.close)()
        finally:
            self._staging.release()

    def _step_ends_fit(self, batch: int, metrics: Mapping[str, float], begun: bool = False) -> bool:
        self._progress.stand_at(batch, begun)
        if self._progress.step <= max(self._run.state.step, self._progress.step_before):
            if self._run.should_exit:  # gradients are being accumulated, and there is no time to wait for the update
                self._save_what_cannot_wait()
            return False
        if not self._prepared:
            self._prepare()
        decision = self._observe(EventKind.STEP_END, metrics)
        if decision.stop is None:
            return False
        self._end_in_mid_epoch()
        self._obey(decision)
        return True

    def _rest(self) -> None:
        """Let the batches pass by that can lead to nothing."""
        if not self._batch_metrics:  # else each has something to tell
            self._run.close_gate()
            self._run.gate.batch = self._progress.batch_of(self._run.gate.step)

    def _save_before_winding_down(self) -> None:
        """Another callback stopped training in mid-epoch: save before Keras validates and ends the epoch."""
        if self._progress.ending or not self.model.stop_training:
            return
        batches, done = self._fit.batches or self.params.get("steps"), self._progress.done(self.model)
        if batches is None or done < batches:
            self._progress.stand_at(done)
            self._end_in_mid_epoch()

    def _end_in_mid_epoch(self) -> None:
        self._progress.ending = True
        self._observe(EventKind.END, {})

    def _save_what_cannot_wait(self) -> None:
        with self._released_on_failure():
            self._run.save_if_urgent(step=self._progress.step, epoch=self._progress.epochs)

    def _save_failed_step(self, error: Exception) -> None:
        """A step or its data raised ``error``, which ends `fit`."""
        if not self._active:
            return
        try:
            if self._progress.begun is None and self._progress.skipped:
                log.warning("%s: raised before anything new was trained; nothing is saved", self.dirpath)
            elif isinstance(error, StateIsGone) or not self._progress.stand_behind_failure(self.model):
                log.warning("%s: the step that raised left no whole state behind; it is not saved", self.dirpath)
            else:
                self._observe(EventKind.EXCEPTION, {})
        except Exception as problem:  # the one that ends `fit` is the one to be seen
            log.warning("%s: nothing was saved on the exception: %s", self.dirpath, problem)
        self._release()

    def _observe(self, kind: EventKind, metrics: Mapping[str, float], *, complete: bool = False) -> Decision:
        with self._released_on_failure():
            event = Event(kind, self._progress.step, self._progress.epochs, metrics=metrics, complete=complete)
            return self._run.observe(event)

    @contextmanager
    def _released_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._release()
            raise

    def _obey(self, decision: Decision) -> None:
        if decision.stop is not None:
            self.model.stop_training = True
            log.warning("stopping: %s", "; ".join(decision.stop.reasons))

    def _prepare(self) -> None:
        """The first step is done: the optimizer has all that a checkpoint takes."""
        self._prepared = True
        size = self._staging.expected_size(self.model, self._run.suffix)
        self._run.run_in_background(lambda: self._staging.prepare(size, self._run.suffix))

    def metadata(self) -> dict[str, Any]:
        """Return facts for a record; see `Source`."""
        return facts_of(self.model)

    def snapshot(self, embedded: Embedded) -> Snapshot:
        """Return the training's state; see `Source`."""
        if self._inexact is not None and not embedded.weights_only:
            log.warning("%s: a run resumed from here is not exact: %s", self.dirpath, self._inexact)
            self._inexact = None
        model = self.model
        moment = self._before_validation or moment_of(model, self._siblings)
        carried = carry(model, embedded, moment, self._progress.position())
        return self._staging.stage(model, self._run.suffix, carried)


def _weakly(method: Callable[[Exception], None]) -> Callable[[Exception], None]:
    # A model keeps its train function, and should not keep the callback: its end gives the directory back.
    reference = weakref.WeakMethod(method)

    def call(error: Exception) -> None:
        if (method := reference()) is not None:
            method(error)

    return call
