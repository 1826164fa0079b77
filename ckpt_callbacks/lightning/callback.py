"""`LightningCheckpoint`: a policy as a Lightning callback."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from ..config.arguments import PolicyLike, build_config
from ..config.peer_arguments import suggests_arguments
from ..config.policy_mirrors import MirrorsLike
from ..config.resume import split_resume
from ..errors import PolicyError, WrongFramework
from ..policy.contents import Contents
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from ..runtime.clock import Clock
from .command_line import ends_command_line
from .compat import ModelCheckpointAttributes
from .compiled_modules import accept_plain_names
from .epoch_data import explain_unloadable_state
from .fit import Fit
from .fit_call import callbacks_being_checked
from .logger_directory import logger_directory
from .missing_validation import warn_without_validation
from .previous_fit import PreviousFit
from .private_names import check_private_names
from .sanity_check import check_names
from .starting_point import asks_for_last, choose


class LightningCheckpoint(ModelCheckpointAttributes, Checkpoint):
    """A callback that carries out a policy with plain Lightning ``.ckpt`` files: it saves, prunes and stops.

    Use ``resume="auto"``, ``trainer.fit(model, ckpt_path="last")`` or ``ckpt_path=ckpt.resume_path()`` to resume; on a
    fresh run, all of them start from scratch.

    Args:
        dirpath: The run directory. None if ``policy`` is a file that names it, or for the directory that
            ModelCheckpoint would take, ``checkpoints`` in that of the logger. Loggers usually begin a new directory
            at each start, which resumes nothing.
        policy: A `Policy`, the path of a YAML file, or the contents of such a file. None with ``monitor``.
        monitor: Name of a logged value, such as ``"val_loss"``, instead of a policy: see `Policy.default`.
        mode: With ``monitor``, ``"min"`` or ``"max"``, if the name is not a common one; ``"auto"`` is the default.
        patience: With ``monitor``, the epochs or validations without improvement after which training stops.
        filename: Template of the file names, such as ``"{epoch:03d}-{val_loss:.3f}"``.
        contents: ``"full"`` (a run can be resumed from it) or ``"weights"``; or `Contents`, for rules with none.
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
        resume: ``"never"``, the default, to resume only from the ``ckpt_path`` that `trainer.fit` receives; ``"auto"``
            to continue without one, from the newest checkpoint that passes verification, if the process has not
            trained the model yet; or the path of the checkpoint to continue from. A mapping means ``"auto"`` without a
            part of the checkpoint, and of any ``ckpt_path``: ``{"optimizer": False}`` to continue with a new optimizer
            and new schedules, ``{"step": False}`` to begin a new run. The weights are always restored.
        mirrors: Places elsewhere that receive the checkpoints: a URL such as ``"s3://bucket/run"``, the path of another
            disk, or a `Mirror`; or a list of these.
        allow_code: Let a YAML file name predicates to import.
        clock: A clock for tests.

    Raises:
        ConfigError: A YAML file has mistakes.
        PolicyError: An argument is invalid.
    """

    _copied = ("_only",)

    @suggests_arguments
    @ends_command_line
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
        allow_code: bool = False,
        clock: Clock | None = None,
    ) -> None:
        config = build_config(
            "LightningCheckpoint", dirpath, policy, monitor=monitor, mode=mode, patience=patience, mirrors=mirrors,
            allow_code=allow_code, filename=filename, contents=contents, metadata=metadata, on_error=on_error,
            grace=grace, min_free=min_free, max_total_size=max_total_size, background=background, resume=resume,
            max_pending=max_pending, when_busy=when_busy, staging=staging, needs_dirpath=False,
        )  # fmt: skip
        settings, (parts, where) = config.settings, split_resume("LightningCheckpoint", config.settings.resume, "never")
        # The parts may be those of the path that `fit` receives.
        if settings.dirpath is None and where != "never" and not isinstance(settings.resume, Mapping):
            raise PolicyError(
                f"LightningCheckpoint: resume is {settings.resume!r}, and dirpath is missing; expected the run "
                "directory, because the logger begins a new one at each start"
            )
        new_run = partial(
            Run, config.policy, suffix=".ckpt", framework="lightning", name="LightningCheckpoint", clock=clock,
            described=config.described,
        )  # fmt: skip
        super().__init__(new_run, settings)
        self._staging = settings.staging if settings.background else "none"  # a copy is pointless
        self._fit: Fit | None = None
        self._resume: str | PathLike[str] = where
        if settings.resume == "auto":
            self._run.directory.announcements.always_resumes = True
        self._previous, self._parts = PreviousFit(where), parts
        # The path that the parts are for; None for any.
        self._only: tuple[str | None, ResumedParts] = (None, ResumedParts(**parts))

    @classmethod
    def from_yaml(
        cls, path: PolicyLike, *, dirpath: str | PathLike[str] | None = None, **settings: Any
    ) -> LightningCheckpoint:
        """Return the callback that a YAML file describes. Arguments passed here take precedence over the file."""
        # The type of ``path`` is that of ``policy``, so that LightningCLI looks for both in the folder of its own file.
        return cls(dirpath, path, **settings)

    def resume_path(self, only: Collection[str] | None = None) -> str | None:
        """Return the newest checkpoint that a run can continue from and that passes verification, or None.

        Args:
            only: The parts of it that ``trainer.fit(ckpt_path=...)`` restores: ``"weights"``, and any of
                ``"optimizer"`` and ``"step"``. By default, those of ``resume``.

        Raises:
            PolicyError: A part is unknown.
            StoreError: The directory holds a run of another framework.
        """
        parts = ResumedParts.of(only, self._parts, f"{type(self).__name__}: resume_path")
        path = super().resume_path()
        self._only = (None if only is None else path, parts)
        return path

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        if self._placed is None:  # nothing is saved under this key; opening the directory refuses a second callback
            return self._generate_state_key(callback=id(self))
        if self._fit is None:  # of two in one directory, the trainer would say only that their keys are the same
            self._refuse_shared_directory(callbacks_being_checked())
        return self._generate_state_key(dirpath=self.dirpath)

    def state_dict(self) -> dict[str, Any]:
        return self._fit.run_state() if self._fit is not None and self._run.is_open else {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._fit is None or trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint.get("callbacks", {})
        own = [key for key in states if key.startswith(type(self).__name__)]
        # A callback in a new directory continues the policy of the only one that there was.
        key = self.state_key if self.state_key in states else own[0] if len(own) == 1 else None
        self._fit.load(checkpoint, None if key is None else states[key])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._fit is None or not self._run.is_open:
            return
        # With several callbacks, those after the one that saves do not know the position of training yet.
        saving = next((fit for fit in _fits(trainer) if fit.is_saving), self._fit)
        checkpoint["callbacks"][self.state_key].update(saving.state())
        saving.correct(checkpoint["loops"])

    # -- hooks -------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._fit = None
        accept_plain_names(pl_module)
        if trainer.fast_dev_run:
            return
        check_private_names()
        if stage != "fit":
            if self._placed is not None:
                choose(self._placed, trainer, "never")
            elif asks_for_last(trainer):  # the directory is not kept: `fit` may have another logger
                choose(self._new_run(replace(self._settings, dirpath=logger_directory(trainer))), trainer, "never")
            return
        if self._placed is None:
            self._place(logger_directory(trainer))
            self._run.directory.announcements.is_placed_by_logger = True
        self._fit = Fit(self._run, trainer, self._staging, partial(self._notify_loggers, trainer), self._previous)
        self._fit.io.only = self._only
        self._fit.open(self._resume)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fit is not None:
            self._fit.begin()
            warn_without_validation(trainer, self._run)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fit is not None:
            check_names(trainer, self._run)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fit = self._fit
        if fit is not None:
            leads = next((one for one in _fits(trainer) if one.is_resuming), fit) is fit
            fit.hooks.call_after(pl_module, "on_train_start", lambda: fit.start_training(leads))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fit is not None:
            self._fit.hooks.call_after(pl_module, "on_train_epoch_start", self._fit.start_epoch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        fit = self._fit
        if fit is not None and not fit.gate.skips(trainer):
            fit.hooks.call_after(pl_module, "on_train_batch_end", fit.end_batch)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:  # fmt: skip
        if self._fit is not None:
            self._fit.io.before_optimizer_step()
            if not pl_module.automatic_optimization:
                self._fit.inexactness.gradients.use(optimizer)

    def on_validation_start(self, *_: Any) -> None:
        if self._fit is not None:
            self._fit.begin_validation()

    def on_validation_epoch_start(self, *_: Any) -> None:
        if self._fit is not None:
            self._fit.averages.in_model = True

    def on_validation_batch_start(self, *_: Any) -> None:
        if self._fit is not None:
            self._fit.pass_validation_batch()

    on_validation_batch_end = on_validation_batch_start

    def on_validation_epoch_end(self, *_: Any) -> None:
        if self._fit is not None:
            self._fit.averages.in_model = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fit is not None and not trainer.sanity_checking and trainer.state.fn == TrainerFn.FITTING:
            self._fit.hooks.call_after_validation(pl_module, self._fit.validation_metrics, self._fit.end_validation)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fit is not None:
            self._fit.end_epoch()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fit is not None:
            self._fit.hooks.call_after(pl_module, "on_train_end", self._fit.end_training)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._fit is None:
            return
        if self._fit.is_resuming:
            explain_unloadable_state(exception)
        try:
            self._fit.fail(exception)
        finally:
            self._fit = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._fit is None:
            return
        try:
            self._fit.end()
        finally:
            self._fit = None

    def set_model(self, *_: Any) -> None:
        """Refuse `fit` of Keras, which calls this first, or looks for `on_batch_end` before."""
        raise WrongFramework("LightningCheckpoint: got fit() of Keras; expected ckpt_callbacks.keras.KerasCheckpoint")

    on_batch_end = property(set_model)


def _fits(trainer: Trainer) -> list[Fit]:
    """Return the fits of all callbacks of a trainer, in their order."""
    found = [callback._fit for callback in trainer.callbacks if isinstance(callback, LightningCheckpoint)]
    return [fit for fit in found if fit is not None]
