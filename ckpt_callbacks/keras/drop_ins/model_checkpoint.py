"""`ModelCheckpoint` of Keras, whose files take their places in one piece."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal

import keras

from ...config.meaning import Meaning
from ...errors import cause_of
from ...formats.keras.suffix import KERAS, LEGACY, WEIGHTS
from ...policy.argument_names import suggests_names
from ...policy.policy import Policy
from ...policy.text_for_number import refuse_text
from ...store.disk_space import FULL
from ..fit_call import FitCall
from ..hook_effects import may_look_at_files
from .arguments import MODEL_CHECKPOINT, explained
from .improvement import is_nan, say_direction
from .model_files import ModelFiles
from .policy_of import meaning_of
from .redirected_model import RedirectedModel
from .template import with_missing

log = logging.getLogger("ckpt_callbacks")


class ModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Save a model at the times, under the names and with the messages of Keras' own class.

    Each file is complete and on the disk before it takes its name, so a crash, a kill or a full disk leaves the file
    that was there. The callback never resumes; for that, add `BackupAndRestore` or `KerasCheckpoint`, which also
    restore the best value of this callback.

    Args:
        filepath: Template of the path, such as ``"best-{epoch:02d}-{val_loss:.2f}.keras"``; it ends with ``.keras`` or
            ``.h5``, and with ``.weights.h5`` if only weights are saved.
        monitor: Name of a logged value.
        verbose: 1 to print a line for each save; training then waits for each file.
        save_best_only: Whether to save only when the value has improved.
        save_weights_only: Whether to save the weights and the optimizer's state, without the model's configuration.
        mode: ``"min"``, ``"max"``, or ``"auto"`` to let Keras decide by the metric.
        save_freq: ``"epoch"``, or the number of batches between two saves.
        initial_value_threshold: The value that the first save must improve on.
        background: Whether training goes on while a file is written. None to let it go on if nothing could look at the
            file in the meantime: only callbacks of Keras and of this package are in the `fit`, and nothing is printed.

    Raises:
        TypeError: A number is text.
        ValueError: An argument is invalid.

    Attributes:
        best: The best value so far, whose file is on the disk. Reading it waits for that file.
    """

    @suggests_names(MODEL_CHECKPOINT)
    def __init__(
        self,
        filepath: str | PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Literal["epoch"] | int = "epoch",
        initial_value_threshold: float | None = None,
        *,
        background: bool | None = None,
    ) -> None:
        refuse_text("ModelCheckpoint", {"initial_value_threshold": initial_value_threshold})
        self._background, self.initial_value_threshold = background, initial_value_threshold
        self._files: ModelFiles | None = None
        self._best: Any = None
        self._best_before: Any = None
        self._failure: Exception | None = None
        self._said: set[str] = set()
        with explained(filepath, save_weights_only, save_freq):
            super().__init__(
                filepath=filepath, monitor=monitor, verbose=verbose, save_best_only=save_best_only,
                save_weights_only=save_weights_only, mode=mode, save_freq=save_freq,
                initial_value_threshold=initial_value_threshold,
            )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        self.wait()
        return {**vars(self), "_files": None}

    @property
    def best(self) -> Any:
        self.wait()
        return self._best

    @best.setter
    def best(self, value: Any) -> None:
        self._best = value

    def to_policy(self) -> Policy:
        """Return the policy that the arguments mean, for `KerasCheckpoint`; ``print(....to_yaml())`` shows it.

        Raises:
            PolicyError: With ``mode="auto"``, the direction of the metric is not known before `fit`.
        """
        return self.explain().policy

    def explain(self) -> Meaning:
        """Return what the arguments mean: the policy and its settings, notes, and what the drop-in does otherwise.

        Raises:
            PolicyError: As for `to_policy`.
        """
        return meaning_of(self)

    def wait(self) -> None:
        """Wait until the last file is on the disk, or has failed, which the next hook reports."""
        if self._files is not None and (error := self._files.error()) is not None:
            self._best = self._best_before
            if getattr(error, "errno", None) in FULL:
                self._warn_of_full_disk(error)
            else:
                self._failure = error

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        super().on_train_end(logs)
        try:
            self._report()
        finally:
            if self._files is not None:
                self._files.release()

    # -- the decisions, which are Keras' own -------------------------------------------------------------------------

    def _set_monitor_op(self) -> None:
        super()._set_monitor_op()
        if self.save_best_only:
            say_direction(self)

    def _is_improvement(self, monitor_value: Any, reference_value: Any) -> Any:
        if self.monitor_op is None:  # Keras sets it at the end of an epoch, but may save before
            self._set_monitor_op()
        return not is_nan(monitor_value) and super()._is_improvement(monitor_value, reference_value)

    def _should_save_model(self, epoch: int, batch: int | None, logs: Any, filepath: str) -> bool:
        found = super()._should_save_model(epoch, batch, logs, filepath)
        is_unranked = self.save_best_only and (logs or {}).get(self.monitor) is None
        return found and not (is_unranked and self.best is not None)  # an unknown value never replaces the best one

    def _get_file_path(self, epoch: int, batch: int | None, logs: Any) -> str:
        try:
            return super()._get_file_path(epoch, batch, logs)
        except KeyError:
            known = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1}), **(logs or {})}
            path = with_missing(self.filepath, known)
            self._warn_once(
                "%s: a name in it is not logged, so the file is called %s; logged are: %s", self.filepath,
                os.path.basename(path), ", ".join(logs or ()) or "nothing",
            )  # fmt: skip
            return path

    # -- the saves -----------------------------------------------------------------------------------------------------

    def _save_model(self, epoch: int, batch: int | None, logs: Any) -> None:
        self._report()
        self._best_before, given = self._best, vars(self)["_model"]
        self._model: Any = RedirectedModel(self.model, self._write)  # on JAX, `model` brings its variables up to date
        try:
            super()._save_model(epoch, batch, logs)
        except BaseException as error:
            self._best = self._best_before  # the file is still the old one
            if getattr(error, "errno", None) not in FULL:
                raise
            self._warn_of_full_disk(error)
        finally:
            self._model = given

    def _write(self, model: keras.Model, filepath: str, by_keras: Any) -> None:
        if "://" in filepath:
            self._warn_once(
                "%s: is not a local file, so Keras itself writes it, and a kill may leave a part of it; expected a "
                "local path, or KerasCheckpoint with mirrors", filepath,
            )  # fmt: skip
            by_keras(filepath)
            return
        if self._files is None:
            self._files = ModelFiles()
        whole = KERAS if filepath.endswith(KERAS) else LEGACY
        suffix = WEIGHTS if self.save_weights_only else whole
        self._files.write(model, filepath, suffix, by_keras, in_background=self._may_continue(model))

    def _may_continue(self, model: keras.Model) -> bool:
        """Return whether training may continue while a file is written."""
        if self._background is not None:
            return self._background
        if self.verbose or type(self) is not ModelCheckpoint:
            return False
        callbacks = FitCall.of(model).callbacks
        return callbacks is not None and not may_look_at_files(callbacks)

    # -- what went wrong -----------------------------------------------------------------------------------------------

    def _report(self) -> None:
        """Raise the error of the last save in the background, if there is one."""
        self.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _warn_of_full_disk(self, error: Any) -> None:
        log.warning(
            "%s: was not saved: %s; the old file is untouched, and training continues", self.filepath, cause_of(error)
        )

    def _warn_once(self, message: str, *values: object) -> None:
        if message not in self._said:
            self._said.add(message)
            log.warning(message, *values)
