"""`KerasCheckpoint`: a policy as a Keras callback."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from ..arguments import PolicyLike, resolve
from ..clock import Clock
from ..errors import PolicyError, ResumeError, VerifyError
from ..events import EventKind
from ..formats import Shapes
from ..policy.engine import Decision
from ..reading import ReadsRun
from ..record import Record
from ..run import Run
from ..store.digest import verify
from ..store.layout import Layout
from . import files
from .fit_call import FitCall
from .resume import Position, carry, floats, load
from .rng import random_state, script_seed
from .stand_in import StandIn
from .steps import Steps, has_trained

log = logging.getLogger("ckpt_callbacks")

_fitting: weakref.WeakValueDictionary[Path, KerasCheckpoint] = weakref.WeakValueDictionary()


class KerasCheckpoint(ReadsRun, keras.callbacks.Callback):
    """Saves, keeps, stops and resumes as a policy says, with plain Keras files.

    Args:
        dirpath: The run directory. May be None when ``policy`` is a file that names it.
        policy: A `Policy`, the path of a YAML file, or what such a file holds.
        filename: Template such as ``"{epoch:03d}-{val_loss:.3f}"``.
        contents: ``"full"`` (a run can be resumed from it) or ``"weights"``.
        format: ``"h5"`` for full checkpoints as legacy ``.h5``; else they are ``.keras``.
        metadata: Facts for every record, such as ``{"dataset": "digits-v1"}``.
        on_error: ``"warn"``, or ``"raise"`` when a save fails.
        grace: With `OnPreempt`: seconds from a signal to the end of the process.
        min_free: Bytes to leave free on the disk; a save that would find less is skipped.
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
        grace: float | None = None,
        min_free: int | None = None,
        resume: str | PathLike[str] = "auto",
        batch_metrics: bool = False,
        restore_best_weights: bool = False,
        allow_code: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(resume, str | PathLike):
            raise PolicyError(f"KerasCheckpoint: resume is {resume!r}; expected 'auto', 'never' or a checkpoint's path")
        settings = {"filename": filename, "contents": contents, "metadata": metadata, "on_error": on_error}
        settings |= {"grace": grace, "min_free": min_free}
        arguments = resolve("KerasCheckpoint", dirpath, policy, allow_code=allow_code, **settings)
        suffix = files.suffix_of(arguments["contents"], format)
        self._run = Run(**arguments, suffix=suffix, holder="KerasCheckpoint", clock=clock)
        self._scratch = Layout(self._run.dirpath).staging
        self._resume, self._restore_best_weights = resume, restore_best_weights
        self._batch_metrics = batch_metrics
        if batch_metrics:
            # Keras gives up its asynchronous dispatch for each callback that has this method.
            self.on_train_batch_end = self._on_train_batch_end
        self._trained: Callable[[], Any] = lambda: None
        self._initial_epoch_is_ours = False
        self._reset(FitCall({}))
        weakref.finalize(self, self._run.close)

    @classmethod
    def from_yaml(
        cls, path: str | PathLike[str], *, dirpath: str | PathLike[str] | None = None, **settings: Any
    ) -> KerasCheckpoint:
        """The callback that a YAML file describes; ``dirpath`` and other arguments given here win over the file."""
        return cls(dirpath, path, **settings)

    # -- hooks -------------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        model = self.model
        self._reset_initial_epoch()  # an exception may have ended the last `fit` before it could be
        self._reset(FitCall.of(model))
        self._take_over()
        try:
            self._run.open()
            _fitting[self._run.dirpath] = self
            self._begin(model)
        except BaseException:
            self._run.close()
            raise
        # What others still do at the end of an epoch or of a fit (learning rate, best weights) is part of the state.
        self._fit.put_last(self)
        self._trained = weakref.ref(model)
        self._active = True

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._first_epoch is None:
            self._first_epoch, self._epochs_before = epoch, max(self._run.state.epoch, epoch)
            self._reset_initial_epoch()
            if self._position is not None:
                self._position.begin_epoch()
        self._epochs = self._epochs_before + epoch - self._first_epoch
        self._epoch_random = random_state()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # Not on_train_batch_end, for the sake of asynchronous dispatch; and `self.model` would synchronise JAX.
        if batch < self._skipped:
            return
        if self._begun is None and self._skipped and self._position is not None:
            self._position.begin_batch()
        self._begun = batch
        if not self._batch_metrics and self._step_ends_fit(batch, {}, begun=True):
            # Keras would train this batch all the same; without it, `fit` ends with the state that was saved.
            model = self.model
            StandIn(model, 1, floats(model.get_metrics_result()), takes=False)

    def _on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        done = self._bounded(batch + 1)
        if done > self._skipped and done != self._fit.batches:  # the epoch's last batch waits for the epoch's end
            self._step_ends_fit(done, floats(logs))

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        if self._active and self._fit.is_running:
            self._validated = True
            self._save_before_winding_down()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._save_before_winding_down()
        if self._ending:
            return  # an epoch that was cut short does not count
        self._steps.end_epoch(self.model, self._done)
        self._begun, self._skipped, self._batch, self._batch_begun = None, 0, 0, False
        self._epochs += 1
        complete = self._validated or not self._fit.validates
        self._obey(self._observe(EventKind.EPOCH_END, floats(logs), complete=complete))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if not self._active:
            return
        self._reset_initial_epoch()
        if self._first_epoch is not None or self._final_is_owed():
            self._observe(EventKind.END, {})
        else:
            log.warning("%s: nothing was left to train; the run is at step %d", self.dirpath, self._run.state.step)
            final = self._run.final()
            if final is not None and self._position is not None and self._position.path != final.path:
                self._load_weights(final)  # which may be averages, or the best ones
        if self._restore_best_weights:
            self._load_weights(self._run.best())
        self._release()

    # -- resuming ----------------------------------------------------------------------------------------------------

    def _begin(self, model: keras.Model) -> None:
        run = self._run
        path = self._path_to_load(model)
        if path is not None:
            carried = files.read_carried(path)
            load(model, path, carried, self._fit, self._scratch)
            run.restore(carried.snapshot)
            self._position = Position(path, model, carried, self._fit)
            self._skipped = self._batch = self._position.batch
            self._set_initial_epoch(run.state.epoch)
            log.info("resumed from %s, at step %d, after %d epochs", path, run.state.step, run.state.epoch)
        elif run.is_first_fit and self._resume != "never":
            self._join(model)
        self._steps = Steps(model, run.state.step, self._batch)
        self._epochs = run.state.epoch
        decision = run.start(step=self._steps.at(self._batch), epoch=self._epochs)
        if decision.stop is not None:
            self._set_initial_epoch(self.params["epochs"])
            log.warning("%s: stopped before training: %s", run.dirpath, "; ".join(decision.stop.reasons))

    def _path_to_load(self, model: keras.Model) -> Path | None:
        if self._resume == "never":
            return None
        if self._resume == "auto":
            if has_trained(model) or self._trained() is model:
                return None
            record = next(self._run.resumable(), None)
            return record.path if record else None
        if not self._run.is_first_fit:
            return None
        path = Path(self._resume)
        if not path.is_file():
            raise ResumeError(f"{path}: is no file; expected resume='auto', 'never' or the path of a checkpoint")
        record = self._run.find(path)
        if record is not None:
            verify(record)
        return path

    def _join(self, model: keras.Model) -> None:
        """Let a model that trained before carry on the run that it comes from; it keeps its weights."""
        if not has_trained(model):
            return
        step = Steps(model, 0).at(0)
        for record in self._run.resumable():
            if record.step <= step:
                self._run.restore(files.read_carried(record.path).snapshot)
                return

    def _final_is_owed(self) -> bool:
        """The run was resumed at its very end, from before the state was saved that it ended with."""
        final = self._run.final()
        return self._position is not None and (final is None or final.step < self._run.state.step)

    def _set_initial_epoch(self, epoch: int) -> None:
        # Keras lets callbacks set this in on_train_begin, and reads it right afterwards.
        self.model._initial_epoch, self._initial_epoch_is_ours = epoch, True

    def _reset_initial_epoch(self) -> None:
        if self._initial_epoch_is_ours:
            self.model._initial_epoch, self._initial_epoch_is_ours = None, False

    # -- inside ------------------------------------------------------------------------------------------------------

    def _reset(self, fit: FitCall) -> None:
        self._fit = fit
        self._active = False
        self._position: Position | None = None  # where a resumed `fit` goes on
        self._first_epoch: int | None = None  # as Keras counts, and the epochs completed before it
        self._epochs_before = self._epochs = 0
        self._begun: int | None = None  # the last batch of this epoch that began
        self._skipped = 0  # batches of this epoch that an earlier attempt trained
        self._batch = 0  # batches of this epoch behind the event that is observed
        self._batch_begun = False  # and whether the next one has begun
        self._epoch_random: dict[str, Any] = {}
        self._validated = False
        self._ending = False  # saved before Keras winds down in mid-epoch

    def _take_over(self) -> None:
        # `fit` may have ended with an exception, which no callback is told; notebooks keep such callbacks alive.
        other = _fitting.get(self._run.dirpath)
        if other is not None and other is not self and not other._fit.is_running:
            other._release()

    def _release(self) -> None:
        self._active = False
        self._run.close()

    def _bounded(self, batch: int) -> int:
        batches = self._fit.batches
        return batch if batches is None else min(batch, batches)

    @property
    def _done(self) -> int:
        """Batches of the running epoch that were trained."""
        return self._skipped if self._begun is None else self._bounded(self._begun + self.model.steps_per_execution)

    def _step_ends_fit(self, batch: int, metrics: Mapping[str, float], begun: bool = False) -> bool:
        if self._steps.at(batch) <= self._run.state.step:
            return False
        self._batch, self._batch_begun = batch, begun
        decision = self._observe(EventKind.STEP_END, metrics)
        if decision.stop is None:
            return False
        self._end_in_mid_epoch()
        self._obey(decision)
        return True

    def _save_before_winding_down(self) -> None:
        """Another callback stopped training in mid-epoch: save before Keras validates and ends the epoch."""
        if self._ending or not self.model.stop_training:
            return
        batches = self._fit.batches or self.params.get("steps")
        if batches is None or self._done < batches:
            self._batch, self._batch_begun = self._done, False
            self._end_in_mid_epoch()

    def _end_in_mid_epoch(self) -> None:
        self._ending = True
        self._observe(EventKind.END, {})

    def _observe(self, kind: EventKind, metrics: Mapping[str, float], *, complete: bool = False) -> Decision:
        try:
            return self._run.observe(
                kind,
                step=self._steps.at(self._batch),
                epoch=self._epochs,
                metrics=metrics,
                complete=complete,
                write=self._write,
                same=files.same_weights if kind is EventKind.END else None,
                metadata=self._facts,
            )
        except BaseException:
            self._release()
            raise

    def _obey(self, decision: Decision) -> None:
        if decision.stop is not None:
            self.model.stop_training = True
            log.warning("stopping: %s", "; ".join(decision.stop.reasons))

    def _write(self, path: Path) -> Shapes:
        model = self.model
        position = {"batch": self._batch, "batches": self._fit.batches, "begun": self._batch_begun}
        position["epoch_random"] = self._epoch_random if self._batch else {}
        return files.save(model, path, carry(model, self._run.snapshot(), self._run.facts(), **position))

    def _facts(self) -> dict[str, Any]:
        model, backend = self.model, keras.backend.backend()
        facts: dict[str, Any] = {"model": _name(model), "framework": "keras", "backend": backend, "seed": script_seed()}
        if model.optimizer is not None:
            facts["optimizer"] = type(model.optimizer).__name__
            facts["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        return {name: value for name, value in facts.items() if value is not None}

    def _load_weights(self, record: Record | None) -> None:
        if record is None:
            return
        try:
            verify(record)
        except VerifyError as error:
            log.warning("its weights were not loaded: %s", error)
            return
        files.load_weights(self.model, record.path, self._scratch)
        log.info("loaded the weights of %s", record.file)


def _name(model: keras.Model) -> str:
    # Keras numbers the models of a process that have no name: the class alone is the same in each process.
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__).lower()
    return type(model).__name__ if re.fullmatch(rf"{snake}(_\d+)?", model.name) else model.name
