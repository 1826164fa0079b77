"""One call of `Model.fit`: what it reports to its run, and how it is saved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from ..events import Event, EventKind
from ..policy.decision import Decision
from ..run.run import Run
from .batch_skipper import BatchSkipper
from .beginning import Beginning
from .earlier_fits import ResumeRequest
from .exactness import Inexactness
from .failure import why_not_to_save
from .first_callback import FirstCallback
from .fit_call import FitCall
from .function_guard import StateIsGone
from .guards import Guards
from .initial_epoch import InitialEpoch
from .loading import load_best
from .metrics import floats, several_numbers
from .model.current_values import update_variables
from .other_callbacks import OtherCallbacks
from .progress import Progress
from .replaced_function import restore_functions
from .resume_point import ResumePoint
from .source import ModelSource
from .staging import KerasStaging
from .update_counter import UpdateCounter, updates_done
from .validation import Validation
from .weights import MeasuredWeights

log = logging.getLogger("ckpt_callbacks")


class Fit:
    """One call of `Model.fit`, from `on_train_begin` to its end.

    It holds no reference to the callback, because deleting the callback releases the directory.

    Args:
        run: The run of the callback.
        model: The model that is trained.
        params: The parameters that Keras passes to callbacks.
        call: The call.
        others: The other callbacks of the call.
        staging: The memory that the model is copied into.
        batch_metrics: Whether the metrics of each batch are reported.
        failed: Called with an exception that ends the fit. It must not keep the callback alive.
        closed: Called when the fit has ended or failed, or was taken over.

    Attributes:
        call: As given.
        progress: The position of the fit. Set by `open`.
        validation: The running validation.
    """

    progress: Progress
    _beginning: Beginning
    _source: ModelSource

    def __init__(
        self,
        run: Run,
        model: keras.Model,
        params: Mapping[str, Any],
        call: FitCall,
        others: OtherCallbacks,
        staging: KerasStaging,
        *,
        batch_metrics: bool,
        failed: Callable[[Exception], object],
        closed: Callable[[], object],
    ) -> None:
        self._run, self._model, self._params, self.call, self._others = run, model, params, call, others
        self._staging, self._batch_metrics, self._closed = staging, batch_metrics, closed
        self._initial_epoch = InitialEpoch(model, call.initial_epoch)
        self._resume_point: ResumePoint | None = None
        self._guards = Guards(model, call, run.policy, failed)
        self.validation = Validation(model, others, self._guards, self._save_if_urgent)
        self._measured: MeasuredWeights | None = None  # the weights at the last epoch's end
        self._has_validated, self._inexactness = False, Inexactness(model, call.inexact)

    @property
    def model(self) -> keras.Model:
        """The model. On JAX, this brings its variables up to date."""
        update_variables(self._model)
        return self._model

    # -- the beginning -----------------------------------------------------------------------------------------------

    def open(self, request: ResumeRequest) -> None:
        """Open the run directory and start the run, from the requested checkpoint if there is one."""
        with self._closed_on_failure():
            self._run.open()
            self._start(request)

    def _start(self, request: ResumeRequest) -> None:
        run, model = self._run, self.model
        start = self._beginning = Beginning(run, request, model, self.call, self._others, self._params["epochs"])
        point = self._resume_point = start.point
        if point is not None:
            self._initial_epoch.resume(run.state.epoch - start.earlier_epochs, run.dirpath)
        step = max(run.state.step, updates_done(model) if request.parts.step else 0)
        counter = UpdateCounter(model, step, *(() if point is None else (point.batch, point.trained)))
        epochs = max(run.state.epoch, self._initial_epoch.value)
        self.progress = Progress(self.call, counter, run.gate, epochs, point, start.earlier_epochs)
        self._source = ModelSource(
            run, model, self._others, self._staging, self.validation, self.progress, self._inexactness
        )
        decision = run.start(
            self._source, step=self.progress.step, epoch=self.progress.epochs, model=model, facts=start.facts,
            fit=self.call.identity, is_alive=self.call.may_be_running, save=self._save_amid_hooks,
            released=self.close,
        )  # fmt: skip
        if reasons := start.why_not_to_train(decision):
            self._initial_epoch.set(self._params["epochs"])
            log.warning("%s: stopped before training: %s", run.dirpath, "; ".join(reasons))

    def first_callback(self) -> FirstCallback:
        """Return the callback that must run before all others."""
        return FirstCallback(
            self.progress, self._resume_point, self._others, self._save_before_winding_down, self._await_validation
        )

    # -- the events --------------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch; ``epoch`` is its number in Keras."""
        if not self.progress.has_begun:
            self._initial_epoch.reset()
            self._beginning.name_earlier_end()
            if self._resume_point is not None:
                self._resume_point.begin_epoch()
            self._guards.begin_training()  # above what skips batches, which draws them
        self.progress.begin_epoch(epoch)
        self._run.gate.batch, self._measured = 0, None

    def begin_batch(self, batch: int) -> None:
        """Begin a batch that the gate did not skip, and report the batches before it."""
        if batch < self.progress.skipped or self.progress.is_trained:
            return
        if self._resume_point is not None and self.progress.is_first_batch:
            self._resume_point.begin_batch()
        beyond_data = self.progress.is_beyond_data(self._model, batch)
        self.progress.begin(self._model, batch)
        if beyond_data or self._batch_metrics:  # each batch is reported when it ends
            return
        if self._report_step(batch, {}, next_begun=True):
            # Keras would still train this batch. If it is skipped, `fit` ends with the state that was saved.
            BatchSkipper(self.model, 1, floats(self._model.get_metrics_result()), draws=False)
        else:
            self._run.close_gate()
            self._run.gate.batch = self.progress.batch_of(self._run.gate.step)

    def end_batch(self, batch: int, logs: Mapping[str, float] | None) -> None:
        """Report a batch and its metrics. The last batch of an epoch is reported with the epoch's end."""
        done = self.progress.bounded(batch + 1)
        if done > self.progress.skipped and done != self.call.batches and not self.progress.is_trained:
            omits = self._resume_point is not None and self._resume_point.omits_batches
            self._report_step(done, {} if omits else logs or {})

    def begin_validation(self) -> None:
        """Begin a validation, if it is one of the fit itself."""
        if not self.call.is_validating:
            return
        self._has_validated = True
        if self._resume_point is not None and self.progress.is_first_epoch:
            self._resume_point.begin_validation()
        self.progress.begin_validation(self.model)
        self.validation.begin()

    def end_epoch(self, epoch: int, logs: Mapping[str, float] | None) -> None:
        """Report an epoch; ``epoch`` is its number in Keras. An epoch that was cut short does not count."""
        if self.progress.ending:
            return
        metrics, here, complete = dict(logs or {}), object(), self._has_validated or not self.call.validates
        complete &= self._resume_point is None or not self._resume_point.leave_out_partial(metrics)
        self.progress.end_epoch(self.model)
        self.validation.end_epoch(self._run.dirpath)
        self._obey(self._observe(EventKind.EPOCH_END, metrics, complete=complete, weights=here))
        if self.model.stop_training or epoch + 1 == self._params["epochs"]:  # the fit ends here
            self._measured = MeasuredWeights(here, self.model)

    # -- the end -----------------------------------------------------------------------------------------------------

    def end(self, *, restore_best_weights: bool) -> None:
        """End a fit that finished normally, and load the best weights if requested."""
        run, start = self._run, self._beginning
        with self._closed_on_failure():
            if self.progress.has_begun or start.lacks_final:
                start.announce_end(has_begun=self.progress.has_begun)
                self._observe(EventKind.END, {}, weights=self._measured and self._measured.identity(self.model))
            else:
                start.end_without_training()
            if restore_best_weights:
                load_best(self.model, run)
        self.close(run.end)

    def fail(self, error: Exception) -> None:
        """End a fit that an exception ends, and save once more if the policy or a signal asks for it."""
        run, preempted, validates = self._run, self._run.should_exit, self.validation.is_running
        if not (preempted or (run.policy.saves_on_exception and not validates)):
            self._guards.end_validation() if validates else restore_functions(self._model)
            return
        try:
            if preempted:
                run.directory.announcements.blame_signal((isinstance(error, StateIsGone) and error.__cause__) or error)
            if why := why_not_to_save(error, self.model, self.progress, self.validation):
                log.warning("%s: %s, so nothing was saved", run.dirpath, why)
            elif validates:
                self.validation.save()
            else:
                self._observe(EventKind.PREEMPT if preempted else EventKind.EXCEPTION, {})
        except Exception as problem:  # the exception that ends `fit` must be the one that propagates
            log.warning("%s: nothing was saved after the exception: %s", run.dirpath, problem)
        self.close(partial(run.end, complete=False))

    def close(self, close_run: Callable[[], object] | None = None) -> None:
        """Undo all changes to the model, close the run (with `Run.close` or ``close_run``), and release the memory."""
        restore_functions(self._model)
        self._initial_epoch.reset()
        self._run.gate.batch = 0
        try:
            (close_run or self._run.close)()
        finally:
            self._staging.release()
            self._closed()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _report_step(self, batch: int, metrics: Mapping[str, float], next_begun: bool = False) -> bool:
        """Report the updates before a batch, if there are any. Return whether that ends the fit."""
        self.progress.move_to(batch, next_begun)
        if self.progress.step <= max(self._run.state.step, self.progress.step_before):
            if self._run.should_exit:  # gradients are being accumulated, and there is no time to wait for the update
                self._save_if_urgent()
            return False
        self._source.prepare()
        self._inexactness.begin(self._model)
        decision = self._observe(EventKind.STEP_END, metrics, weights=(here := object()))
        if decision.stop is not None:
            self._end_amid_epoch(here)  # nothing has changed the weights
            self._obey(decision)
        return decision.stop is not None

    def _await_validation(self) -> None:
        if self.call.is_validating:
            self._save_before_winding_down()
            self.validation.await_hooks()

    def _save_before_winding_down(self) -> None:
        """Save if another callback has stopped training mid-epoch, before Keras validates and ends the epoch."""
        batches = self.call.batches or self._params.get("steps")
        if self.model.stop_training and not (self.progress.ending or self.progress.is_complete(self.model, batches)):
            self.progress.move_to(self.progress.done(self._model))
            self._end_amid_epoch()

    def _end_amid_epoch(self, weights: Hashable | None = None) -> None:
        self.progress.ending = True
        self._observe(EventKind.END, {}, weights=weights)

    def _save_amid_hooks(self) -> None:
        if self.progress.move_after_failure(self.model):
            self._save_if_urgent()

    def _save_if_urgent(self) -> None:
        with self._closed_on_failure():
            self._run.save_if_urgent(**self.progress.counts())

    def _observe(self, kind: EventKind, logs: Mapping[str, Any], **facts: Any) -> Decision:
        with self._closed_on_failure():
            metrics = floats(logs)
            error = several_numbers(logs, metrics, self._run.policy.monitored)
            return self._run.observe(Event(kind, metrics=metrics, error=error, **self.progress.counts(), **facts))

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _obey(self, decision: Decision) -> None:
        if decision.stop is not None:
            self.model.stop_training = True
            self.call.end()
            log.warning("stopping: %s", "; ".join(decision.stop.reasons))
