"""`KerasCheckpoint`: a policy as a Keras callback."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from ..config.arguments import PolicyLike, build_config
from ..errors import PolicyError, VerifyError
from ..events import EventKind
from ..formats.keras.suffix import suffix_of
from ..record import Record
from ..run.reader import RunReader
from ..run.run import Run
from ..runtime.clock import Clock
from ..store.digest import verify
from .capture import floats
from .first import Ahead
from .fit import ObservesFit
from .fit_call import FitCall
from .model.load import load_weights, read_embedded
from .opening import join, path_to_load
from .private import check_private_names
from .progress import Progress
from .resume import Position, load
from .staging import KerasStaging
from .train_function import StandIn
from .updates import UpdateCounter

log = logging.getLogger("ckpt_callbacks")

_fitting: weakref.WeakValueDictionary[Path, KerasCheckpoint] = weakref.WeakValueDictionary()


class KerasCheckpoint(RunReader, ObservesFit, keras.callbacks.Callback):
    """Saves, keeps, stops and resumes as a policy says, with plain Keras files.

    Args:
        dirpath: The run directory. May be None when ``policy`` is a file that names it.
        policy: A `Policy`, the path of a YAML file, or what such a file holds.
        filename: Template such as ``"{epoch:03d}-{val_loss:.3f}"``.
        contents: ``"full"`` (a run can be resumed from it) or ``"weights"``.
        format: ``"h5"`` for full checkpoints as legacy ``.h5``; else they are ``.keras``.
        metadata: Facts for every record, such as ``{"dataset": "digits-v1"}``.
        on_error: ``"warn"``, or ``"raise"`` when a save fails.
        grace: With `OnPreempt`: time from a signal to the end of the process, in seconds or as ``"30 s"``.
        min_free: What a save must leave free on the disk, in bytes or as ``"5 GB"``; else it is skipped.
        background: Write on a thread beside the training's, which is blocked for a copy of the state alone; True by
            default. max_pending: snapshots that may wait to be written, 1 by default, each with memory of its own.
        when_busy: When as many do, ``"wait"``, or ``"skip"`` the save, which stays due. The last one is never skipped.
        staging: ``"none"`` for people without the memory: the state is written where it is, and training waits.
        resume: ``"auto"`` continues in `fit` from the newest checkpoint that verifies, with a model that has not
            trained yet; ``"never"``; or the path of the checkpoint to continue from.
        batch_metrics: Let the policy see the metrics of each batch, which costs Keras its asynchronous dispatch.
        restore_best_weights: When `fit` ends, load the best checkpoint's weights into the model.
        allow_code: Let a YAML file name predicates to import.
        clock: For tests.

    Raises:
        ConfigError, PolicyError: what was given makes no sense.
    """

    def __init__(
        self,
        dirpath: str | PathLike[str] | None,
        policy: PolicyLike,
        *,
        filename: str | None = None,
        contents: str | None = None,
        format: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_error: str | None = None,
        grace: float | str | None = None,
        min_free: int | str | None = None,
        background: bool | None = None,
        max_pending: int | None = None,
        when_busy: str | None = None,
        staging: str | None = None,
        resume: str | PathLike[str] = "auto",
        batch_metrics: bool = False,
        restore_best_weights: bool = False,
        allow_code: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(resume, str | PathLike):
            raise PolicyError(f"KerasCheckpoint: resume is {resume!r}; expected 'auto', 'never' or a checkpoint's path")
        config = build_config(
            "KerasCheckpoint", dirpath, policy, allow_code=allow_code, filename=filename, contents=contents,
            metadata=metadata, on_error=on_error, grace=grace, min_free=min_free, background=background,
            max_pending=max_pending, when_busy=when_busy, staging=staging,
        )  # fmt: skip
        settings, suffix = config.settings, suffix_of(config.settings.contents, format)
        run = Run(
            config.policy, settings, suffix=suffix, framework="keras", name="KerasCheckpoint", clock=clock,
            described=config.described,
        )  # fmt: skip
        super().__init__(run)
        self._staging = KerasStaging(settings.staging if settings.background else "none")  # else a copy is for nothing
        if restore_best_weights and config.policy.best_metric is None:
            raise PolicyError(
                "KerasCheckpoint: restore_best_weights is True, and the policy knows no best; expected a rule with a "
                "metric, such as Improves(Metric('val_loss', mode='min')), or best_by"
            )
        self._quiet, self._scratch = self._run.gate, self._run.directory.staging
        self._resume, self._restore_best_weights, self._batch_metrics = resume, restore_best_weights, batch_metrics
        if batch_metrics:
            # Keras gives up its asynchronous dispatch for each callback that has this method.
            self.on_train_batch_end = self._on_train_batch_end
        self._trained: Callable[[], Any] = lambda: None
        self._initial_epoch_is_ours = self._validated = False
        self._active = False  # between the beginning and the end of a `fit`
        self._fit = FitCall({})
        self._position: Position | None = None  # where a resumed `fit` goes on
        weakref.finalize(self, self._run.close)

    @classmethod
    def from_yaml(
        cls, path: str | PathLike[str], *, dirpath: str | PathLike[str] | None = None, **settings: Any
    ) -> KerasCheckpoint:
        """The callback that a YAML file describes; ``dirpath`` and other arguments given here win over the file."""
        return cls(dirpath, path, **settings)

    # -- hooks -------------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        check_private_names()
        model = self.model
        self._reset_initial_epoch()  # an exception may have ended the last `fit` before it could be
        self._watch(model)
        self._position, self._validated = None, False
        self._take_over()
        try:
            self._run.open()
            _fitting[self._run.dirpath] = self
            self._begin(model)
        except BaseException:
            self._run.close()
            raise
        # What others still do at the end of an epoch or of a fit (learning rate, best weights) is part of the state.
        self._fit.surround(self, self._ahead())
        self._watch_for_exceptions(model)
        self._trained, self._active = weakref.ref(model), True

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if not self._progress.has_begun:
            self._reset_initial_epoch()
            if self._position is not None:
                self._position.begin_epoch()
        self._progress.begin_epoch(epoch)
        self._quiet.batch = 0

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # Not on_train_batch_end, for the sake of asynchronous dispatch; and `self.model` would synchronise JAX.
        quiet, progress = self._quiet, self._progress
        if batch < quiet.batch and not quiet.alarm:
            progress.begun = batch
            return
        if batch < progress.skipped:
            return
        if progress.begun is None and self._position is not None and self._is_first_epoch:
            self._position.begin_batch()
        progress.begin(batch)
        if not self._batch_metrics and self._step_ends_fit(batch, {}, begun=True):
            # Keras would train this batch all the same; without it, `fit` ends with the state that was saved.
            model = self.model
            StandIn(model, 1, floats(model.get_metrics_result()), takes=False)
        else:
            self._rest()

    def _on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        done = self._progress.bounded(batch + 1)
        if done > self._progress.skipped and done != self._fit.batches:  # the last one waits for the epoch's end
            self._step_ends_fit(done, floats(logs))

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        if not self._active or not self._fit.is_running:
            return
        self._validated = True
        if self._position is not None and self._is_first_epoch:
            self._position.begin_validation()
        self._save_before_winding_down()
        self._begin_validation()

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # Not on_test_batch_end either; and a validation may last longer than there is time after a signal.
        if self._before_validation is not None:
            self._save_what_cannot_wait()

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._before_validation is not None:
            self._save_what_cannot_wait()
            self._before_validation = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._progress.ending:
            return  # an epoch that was cut short does not count
        self._progress.end_epoch(self.model)
        complete = self._validated or not self._fit.validates
        self._obey(self._observe(EventKind.EPOCH_END, floats(logs), complete=complete))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if not self._active:
            return
        self._reset_initial_epoch()
        if self._progress.has_begun or self._final_is_owed():
            self._observe(EventKind.END, {})
        else:
            self._end_untrained()
        if self._restore_best_weights:
            self._load_weights(self._run.view.best())
        self._release(self._run.end)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, model: keras.Model) -> None:
        run, ended_by = self._run, None
        if (path := path_to_load(run, self._resume, model, trained=self._trained() is model)) is not None:
            carried = read_embedded(path)
            load(model, path, carried, self._fit, self._scratch)
            run.restore(carried.snapshot)
            self._position = Position(path, model, carried, self._fit, self._siblings)
            ended_by = self._position.ended_by
            self._set_initial_epoch(run.state.epoch)
            log.warning("resumed from %s, at step %d, epoch %d", path, run.state.step, run.state.epoch)
        elif run.is_first_fit and self._resume != "never":
            join(run, model)
        skipped = self._position.batch if self._position is not None else 0
        self._progress = Progress(self._fit, UpdateCounter(model, run.state.step, skipped), run.state.epoch, skipped)
        decision = run.start(self, step=self._progress.step, epoch=self._progress.epochs)
        reasons = decision.stop.reasons if decision.stop is not None else ()
        reasons += (f"{ended_by} had ended it",) if ended_by else ()
        if reasons:
            self._set_initial_epoch(self.params["epochs"])
            log.warning("%s: stopped before training: %s", run.dirpath, "; ".join(reasons))

    def _ahead(self) -> Ahead:
        position = self._position

        def begin_epoch() -> None:
            if position is not None and not self._progress.has_begun:
                position.before_epoch()

        def begin_batch(batch: int) -> None:
            if self._is_first_epoch and self._progress.begun is None and batch >= self._progress.skipped:
                position.before_batch()

        def end_train() -> None:
            # Nothing was left to train: what others do at the end (the best weights) they do once more, and people ask
            # them after `fit`.
            if position is not None and not self._progress.has_begun:
                position.restore_siblings()

        between_batches = position is not None and position.between_batches
        return Ahead(begin_epoch, self._save_before_winding_down, end_train, begin_batch if between_batches else None)

    @property
    def _is_first_epoch(self) -> bool:
        return self._progress.epochs == self._progress.epochs_before

    def _final_is_owed(self) -> bool:
        """The run was resumed at its very end, from before the state was saved that it ended with."""
        final = self._run.view.final()
        return self._position is not None and (final is None or final.step < self._run.state.step)

    def _end_untrained(self) -> None:
        log.warning("%s: nothing was left to train; the run is at step %d", self.dirpath, self._run.state.step)
        final = self._run.view.final()
        if final is not None and self._position is not None and self._position.path != final.path:
            self._load_weights(final)  # which may be averages, or the best ones

    def _set_initial_epoch(self, epoch: int) -> None:
        # Keras lets callbacks set this in on_train_begin, and reads it right afterwards.
        self.model._initial_epoch, self._initial_epoch_is_ours = epoch, True

    def _reset_initial_epoch(self) -> None:
        if self._initial_epoch_is_ours:
            self.model._initial_epoch, self._initial_epoch_is_ours = None, False

    def _take_over(self) -> None:
        # `fit` may have ended with an exception, which no callback is told; notebooks keep such callbacks alive.
        other = _fitting.get(self._run.dirpath)
        if other is not None and other is not self and not other._fit.is_running:
            other._release()

    def _load_weights(self, record: Record | None) -> None:
        if record is None:
            return
        try:
            verify(record)
        except VerifyError as error:
            log.warning("its weights were not loaded: %s", error)
            return
        load_weights(self.model, record.path, self._scratch)
        log.info("loaded the weights of %s", record.file)
