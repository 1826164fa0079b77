"""`KerasCheckpoint`: a policy as a Keras callback."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Collection, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import keras

from ..config.arguments import PolicyLike, build_config
from ..config.peer_arguments import suggests_arguments
from ..config.policy_mirrors import MirrorsLike
from ..config.resume import split_resume
from ..errors import PolicyError, WrongFramework
from ..formats.keras.suffix import suffix_of
from ..policy.contents import Contents
from ..run.reader import RunReader
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from ..runtime.clock import Clock
from .earlier_fits import ResumeRequest
from .fit import Fit
from .fit_call import FitCall
from .interrupt import without_inner_frames
from .private_names import check_private_names
from .replaced_function import restore_functions
from .staging import KerasStaging

log = logging.getLogger("ckpt_callbacks")

_OLD_KERAS = ("tf_keras.", "tensorflow.python.keras.")

_fitting: weakref.WeakValueDictionary[Path, KerasCheckpoint] = weakref.WeakValueDictionary()


class KerasCheckpoint(RunReader, keras.callbacks.Callback):
    """A callback that carries out a policy with plain Keras files: it saves, prunes, stops and resumes.

    Args:
        dirpath: The run directory. None if ``policy`` is a file that names it.
        policy: A `Policy`, the path of a YAML file, or the contents of such a file. None with ``monitor``.
        monitor: Name of a logged value, such as ``"val_loss"``, instead of a policy: see `Policy.default`.
        mode: With ``monitor``, ``"min"`` or ``"max"``, if the name is not a common one; ``"auto"`` is the default.
        patience: With ``monitor``, the epochs or validations without improvement after which training stops.
        filename: Template of the file names, such as ``"{epoch:03d}-{val_loss:.3f}"``.
        contents: ``"full"`` (a run can be resumed from it) or ``"weights"``; or `Contents`, for rules with none.
        format: ``"h5"`` to write full checkpoints as legacy ``.h5``; by default they are ``.keras``.
        metadata: Facts to store in every record, such as ``{"dataset": "digits-v1"}``.
        on_error: What to do when a save fails: ``"warn"`` or ``"raise"``.
        grace: With `OnPreempt`, the time from a signal to the end of the process, in seconds or as ``"30 s"``.
        min_free: Bytes that a save must leave free on the disk, or ``"5 GB"``; one that would not is skipped.
        max_total_size: Bytes that all checkpoints may take, or ``"50 GB"``; `ckpt du --what-next` says which go first.
        background: Write on a worker thread while training runs, which waits only for a copy. True by default.
        max_pending: Number of snapshots that may wait to be written, each in its own memory. 1 by default.
        when_busy: What to do when ``max_pending`` snapshots are already waiting: ``"wait"``, or ``"skip"`` the save,
            which then stays due. The last save is never skipped.
        staging: ``"memory"`` to write a copy of the state, or ``"none"`` to write it while training waits.
        resume: ``"auto"``, the default, to make `fit` continue from the newest checkpoint that passes verification, if
            the model has not been trained yet; ``"never"``; or the path of the checkpoint to continue from. A mapping
            means ``"auto"`` without a part of the checkpoint: ``{"optimizer": False}`` to continue with a new
            optimizer, ``{"step": False}`` to begin a new run. The weights are always restored.
        mirrors: Places elsewhere that receive the checkpoints: a URL such as ``"s3://bucket/run"``, the path of another
            disk, or a `Mirror`; or a list of these.
        batch_metrics: Let the policy see the metrics of each batch. This disables Keras' asynchronous dispatch.
        restore_best_weights: Load the best checkpoint's weights into the model when `fit` ends.
        allow_code: Let a YAML file name predicates to import.
        clock: A clock for tests.

    Raises:
        ConfigError: A YAML file has mistakes.
        PolicyError: An argument is invalid.
    """

    _copied = ("_parts",)

    @suggests_arguments
    def __init__(
        self,
        dirpath: str | PathLike[str] | None = None,
        policy: PolicyLike | None = None,
        *,
        monitor: str | list[str] | None = None,
        mode: Literal["min", "max", "auto"] | None = None,
        patience: int | None = None,
        filename: str | None = None,
        contents: Literal["full", "weights"] | Contents | None = None,
        format: Literal["h5"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_error: Literal["warn", "raise"] | None = None,
        grace: float | str | None = None,
        min_free: int | str | None = None,
        max_total_size: int | str | None = None,
        background: bool | None = None,
        max_pending: int | None = None,
        when_busy: Literal["wait", "skip"] | None = None,
        staging: Literal["memory", "none"] | None = None,
        resume: dict[str, bool] | Literal["auto", "never"] | str | PathLike[str] | None = None,
        mirrors: MirrorsLike | None = None,
        batch_metrics: bool = False,
        restore_best_weights: bool = False,
        allow_code: bool = False,
        clock: Clock | None = None,
    ) -> None:
        config = build_config(
            "KerasCheckpoint", dirpath, policy, monitor=monitor, mode=mode, patience=patience,
            allow_code=allow_code, filename=filename, contents=contents, metadata=metadata, on_error=on_error,
            grace=grace, min_free=min_free, background=background,
            max_pending=max_pending, when_busy=when_busy, staging=staging,
            resume=resume, max_total_size=max_total_size, mirrors=mirrors,
        )  # fmt: skip
        settings, suffix = config.settings, suffix_of(config.settings.contents, format)
        new_run = partial(
            Run, config.policy, suffix=suffix, framework="keras", name="KerasCheckpoint", clock=clock,
            described=config.described,
        )  # fmt: skip
        super().__init__(new_run, settings)
        named, self._resume = split_resume("KerasCheckpoint", settings.resume, "auto")
        # If the file is written on the training thread, a copy is pointless.
        self._staging = KerasStaging(settings.staging, background=settings.background)
        if restore_best_weights and config.policy.best_metric is None:
            raise PolicyError(
                "KerasCheckpoint: restore_best_weights is True, but the policy has no best; expected a rule with a "
                "metric, such as Improves(Metric('val_loss', mode='min')), or best_by"
            )
        self._restore_best_weights, self._batch_metrics = restore_best_weights, batch_metrics
        if batch_metrics:
            # Keras disables asynchronous dispatch if any callback has this method.
            self.on_train_batch_end = self._end_batch
        self._named = named
        self._parts = ResumedParts(**named)
        self._run.directory.announcements.always_resumes = settings.resume in (None, "auto")
        self._gate = self._run.gate
        self._fit: Fit | None = None
        weakref.finalize(self, self._run.close)

    @classmethod
    def from_yaml(
        cls, path: PolicyLike, *, dirpath: str | PathLike[str] | None = None, **settings: Any
    ) -> KerasCheckpoint:
        """Return the callback that a YAML file describes. Arguments passed here take precedence over the file."""
        return cls(dirpath, path, **settings)

    def resume_path(self, only: Collection[str] | None = None) -> str | None:
        """Return the newest checkpoint that a run can continue from and that passes verification, or None.

        Args:
            only: The parts of it that the next `fit` restores: ``"weights"``, and any of ``"optimizer"`` and
                ``"step"``. By default, those of ``resume``.

        Raises:
            PolicyError: A part is unknown.
            StoreError: The directory holds a run of another framework.
        """
        self._parts = ResumedParts.of(only, self._named, "KerasCheckpoint: resume_path")
        return super().resume_path()

    # -- hooks -------------------------------------------------------------------------------------------------------

    @property
    def epochs_done(self) -> int:
        """The number of completed epochs. After `on_train_begin`, begin your own training loop with this epoch."""
        return self._run.state.epoch

    def set_model(self, model: Any) -> None:
        if any(kind.__module__.startswith(_OLD_KERAS) for kind in type(model).__mro__):
            raise PolicyError(
                f"KerasCheckpoint: got a {type(model).__name__} of Keras 2 (tf_keras); expected a model of Keras 3; "
                "unset TF_USE_LEGACY_KERAS, and build the model with `import keras`"
            )
        super().set_model(model)

    def _refuse_lightning(self) -> None:
        raise WrongFramework(
            "KerasCheckpoint: got a Trainer of Lightning; expected fit() of a Keras model; for Lightning, use "
            "ckpt_callbacks.lightning.LightningCheckpoint"
        )

    setup = on_exception = property(_refuse_lightning)  # a trainer looks for the first one, and then for the other

    @without_inner_frames
    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        check_private_names()
        call = FitCall.of(self.model)
        self._check(call)
        call.at_last(lambda: self._begin(call))  # other callbacks may change, in this hook, what a resume restores

    @without_inner_frames
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._fit is not None:
            self._fit.begin_epoch(epoch)

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # Not on_train_batch_end, which would disable asynchronous dispatch. Reading `self.model` would synchronise JAX.
        gate = self._gate  # it is open if there is no fit
        if batch < gate.batch and not gate.alarm:
            gate.begun = batch
        elif self._fit is not None:
            try:  # as `without_inner_frames` does, whose call would cost time on each batch that is skipped
                self._fit.begin_batch(batch)
            except KeyboardInterrupt as error:
                raise error.with_traceback(None) from None

    @without_inner_frames
    def _end_batch(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._fit is not None:
            self._fit.end_batch(batch, logs)

    @without_inner_frames
    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        if self._fit is not None:
            self._fit.begin_validation()

    @without_inner_frames
    def on_test_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # Not on_test_batch_end, which would disable asynchronous dispatch.
        if self._fit is not None:
            self._fit.validation.begin_batch()

    @without_inner_frames
    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._fit is not None:
            self._fit.validation.end()

    @without_inner_frames
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._fit is not None:
            self._fit.end_epoch(epoch, logs)

    @without_inner_frames
    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._fit is not None:
            self._fit.end(restore_best_weights=self._restore_best_weights)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, call: FitCall) -> None:
        model = self.model
        self._take_over()
        restore_functions(model)  # an exception may have ended the last `fit`
        fit = Fit(
            self._run, model, self.params, call, call.other_callbacks(self), self._staging,
            batch_metrics=self._batch_metrics, failed=_weakly(self._fail), closed=_weakly(self._forget),
        )  # fmt: skip
        fit.open(ResumeRequest(self._resume, self._parts))
        self._fit, _fitting[self._run.dirpath] = fit, self
        # The state includes what other callbacks change at the end of an epoch or fit (learning rate, best weights).
        call.surround(fit.first_callback(), self)

    def _check(self, call: FitCall) -> None:
        if call.holds_twice(self):
            raise PolicyError(f"{self.dirpath}: this callback was passed to fit() more than once; expected once")
        if call.validates_averages and self._run.policy.best_metric is not None:
            log.warning(
                "%s: SwapEMAWeights validates averaged weights, but checkpoints hold other weights, so the best one "
                "would not hold what was measured; expected SwapEMAWeights(swap_on_epoch=True)", self.dirpath,
            )  # fmt: skip

    def _take_over(self) -> None:
        # The last `fit` may have ended with an exception, for which Keras has no hook, and a notebook may keep its
        # callback alive.
        last = _fitting.get(self._run.dirpath)
        if last is not None and last._fit is not None and not last._fit.call.is_running:
            last._fit.close()

    def _fail(self, error: Exception) -> None:
        if self._fit is not None:
            self._fit.fail(error)

    def _forget(self) -> None:
        self._fit = None


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    # A model holds the guard of its functions, and the run holds its fit. Neither may keep the callback alive, because
    # deleting it releases the directory.
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        if (method := reference()) is not None:
            method(*arguments)

    return call
