"""The drop-in for Lightning's ModelCheckpoint, which decides and names; its files are written by this package."""
# No `annotations` from `__future__`: LightningCLI reads the types of the arguments.

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import torch
from lightning.fabric.utilities.cloud_io import _is_local_file_protocol
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint as Original
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from ...run.committer import SaveOutcome
from ...settings import Settings
from ..private_names import check_private_names
from .arguments import MODEL_CHECKPOINT, checked
from .awaited import Awaited
from .decisions import Decisions
from .followers import Followed, Followers, new_run
from .last_checkpoints import intact
from .original_writer import is_left_to_original
from .ranked_models import Ranked, take_back, worst
from .requests import Asked, naming, remove

_OF_A_FIT = ("_followed", "_leads", "_asked", "_deciding", "_reason", "_victim", "_before")


class ModelCheckpoint(Decisions):
    """Lightning's ModelCheckpoint, with files that survive a kill at any moment, and runs that resume exactly.

    All arguments, file names, attributes and hooks are those of the original; docs/drop-ins.md lists by name what is
    deliberately different. Files are written in the background, and reading the path of one waits for it.

    Args:
        background: Write while training goes on, which waits only for a copy of the state.
        on_error: What to do when a save fails: ``"warn"``, and train on, or ``"raise"``.
    """

    best_model_path: str = Awaited()  # type: ignore[assignment]
    kth_best_model_path: str = Awaited()  # type: ignore[assignment]
    last_model_path: str = Awaited()  # type: ignore[assignment]
    best_k_models: dict[str, Tensor] = Awaited()  # type: ignore[assignment]

    _followed: Followed | None = None  # during a fit whose files this package writes
    _leads: Followers | None = None  # set in the last drop-in of the trainer
    _deciding, _reason = 0, ""  # how many calls of the original's code run, and why it saves
    _asked: Asked | None = None  # the last save of the running decision, which another name can share
    _victim: Ranked | None = None  # what it replaces in the ranking
    _before = ("", "")  # the best and the last path before the decision

    @checked(MODEL_CHECKPOINT)
    def __init__(
        self,
        dirpath: _PATH | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | Literal["link"] | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
        *,
        background: bool = True,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        self._settings = Settings(background=background, on_error=on_error)
        super().__init__(
            dirpath, filename, monitor, verbose, save_last, save_top_k, save_on_exception, save_weights_only, mode,
            auto_insert_metric_name, every_n_train_steps, train_time_interval, every_n_epochs, save_on_train_epoch_end,
            enable_version_counter,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy gets: not the fit with its locks and threads, and no path of a file that is to come."""
        self.await_files()
        return {name: value for name, value in vars(self).items() if name not in _OF_A_FIT}

    def wait(self) -> None:
        """Wait until every file that was asked for exists, or has failed."""
        if (followed := self._followed) is not None:
            if followed.is_single:  # several processes save together
                followed.fit.carry_out_now()
            if followed.fit.run.named.waiting:
                followed.fit.run.wait()

    # -- the hooks: the original decides, and then the last drop-in tells the fits what has happened -----------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._followed = self._leads = None
        if stage != "fit" or not isinstance(trainer, Trainer) or is_left_to_original(trainer, self.dirpath or ""):
            return
        check_private_names()
        settings = replace(self._settings, dirpath=os.path.abspath(self.dirpath or ""))
        self._followed = Followers.join(trainer, self, settings)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if (followers := Followers.led(trainer, self)) is not None:
            followers.load(checkpoint)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._leads is not None:
            self._leads.save(checkpoint, trainer.callbacks)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leads = followers = Followers.led(trainer, self)
        if followers is not None:
            followers.begin()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self._leads is not None:
            self._leads.start_training(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._leads is not None:
            self._leads.start_epoch(pl_module)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:  # fmt: skip
        if self._leads is not None:
            self._leads.begin_optimizer_step(pl_module, optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        is_due = self._every_n_train_steps >= 1 and trainer.global_step % self._every_n_train_steps == 0
        if self._followed is None or self._train_time_interval is not None or is_due:
            with self._decision("on_train_batch_end"):
                super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._leads is not None:
            self._leads.end_batch(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._leads is not None:
            self._leads.begin_validation()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._leads is not None:
            self._leads.validate(True)

    def on_validation_batch_start(self, *arguments: Any, **named: Any) -> None:
        if self._leads is not None:
            self._leads.pass_validation_batch()

    on_validation_batch_end = on_validation_batch_start

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._leads is not None:
            self._leads.validate(False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with self._decision("on_validation_end"):
            super().on_validation_end(trainer, pl_module)
        if self._leads is not None and not trainer.sanity_checking and trainer.state.fn == TrainerFn.FITTING:
            self._leads.end_validation(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with self._decision("on_train_epoch_end"):
            super().on_train_epoch_end(trainer, pl_module)
        if self._leads is not None:
            self._leads.end_epoch()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with self._decision("on_train_end"):
            super().on_train_end(trainer, pl_module)
        if self._leads is not None:
            self._leads.end_training(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        try:
            with self._decision():
                self._reason = type(exception).__name__
                super().on_exception(trainer, pl_module, exception)
        finally:
            if (followers := Followers.led(trainer, self)) is not None:
                followers.fail(exception)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        if (followers := Followers.led(trainer, self)) is not None:
            followers.end()

    # -- what the original asks for ----------------------------------------------------------------------------------

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        followed, name = self._followed, self._name_of(filepath)
        if followed is None or name is None or "save_checkpoint" in vars(trainer):  # a script has its own way to save
            super()._save_checkpoint(trainer, filepath)
            return
        self._last_global_step_saved = trainer.global_step
        self._last_checkpoint_saved = filepath
        is_replaced = type(self)._save_checkpoint is not ModelCheckpoint._save_checkpoint
        first = self._asked if self._deciding and not is_replaced else None
        if first is not None and first.name == name:
            return
        contents = "weights" if self.save_weights_only else "full"
        self._asked = asked = Asked(name, self._reason, contents, naming(self), first)
        asked.done = partial(self._end_save, trainer, asked, filepath, (self._victim, *self._before))
        followed.coming.expect(name, True)
        followed.fit.ask(partial(asked.carry_out, followed.fit.run))
        if is_replaced or not self._deciding:
            followed.fit.carry_out_now()
        if is_replaced:  # a subclass that calls this one may read the file next
            self.wait()

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        followed, name, given = self._followed, self._name_of(filepath), getattr(trainer, "ckpt_path", None)
        if followed is None or name is None:
            super()._remove_checkpoint(trainer, filepath)
        elif given is None or os.path.abspath(given) != os.path.abspath(filepath):
            followed.coming.expect(name, False)
            followed.fit.ask(partial(remove, followed.fit.run, name, self._asked))
            if not self._deciding:
                followed.fit.carry_out_now()

    @staticmethod
    def _link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
        if (followers := Followers.of(trainer)) is None or not followers.point(linkpath, filepath):
            Original._link_checkpoint(trainer, filepath, linkpath)

    def file_exists(self, filepath: _PATH, trainer: Trainer) -> bool:
        """Return whether a file exists, or will once everything that was asked for is done."""
        coming = self._followed.coming.exists(filepath) if self._followed is not None else None
        if coming is None:
            return super().file_exists(filepath, trainer)
        return trainer.strategy.reduce_boolean_decision(coming and trainer.is_global_zero, all=False)

    def _find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        found = super()._find_last_checkpoints(trainer)
        if not all(map(_is_local_file_protocol, found)):
            return found
        return intact(found, new_run(Settings(os.path.dirname(min(found))))) if found else found

    # -- why it saves, for the records -------------------------------------------------------------------------------

    def _update_best_and_save(self, current: Tensor, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        self._victim, self._reason = worst(self), f"{self.monitor} reached {float(current):.6g}"
        super()._update_best_and_save(current, trainer, monitor_candidates)
        self._victim, self._reason = None, ""

    def _save_none_monitor_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        self._reason = "the newest"
        super()._save_none_monitor_checkpoint(trainer, monitor_candidates)
        self._reason = ""

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        self._reason = "save_last"
        super()._save_last_checkpoint(trainer, monitor_candidates)
        self._reason = ""

    # -- what is under way -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _decision(self, hook: str | None = None) -> Iterator[None]:
        """Run the original's code, which waits for no file. A subclass that calls the ``hook`` may read one next."""
        self._deciding += 1
        if self._deciding == 1:
            self._asked, self._before = None, (self.best_model_path, self.last_model_path)
        try:
            yield
        finally:
            self._deciding -= 1
        is_overridden = hook is not None and getattr(type(self), hook) is not getattr(ModelCheckpoint, hook)
        if is_overridden and self._followed is not None and not self._followed.is_single:
            self._followed.fit.carry_out_now()

    def await_files(self) -> None:
        """`wait`, except while the original decides."""
        if not self._deciding:
            self.wait()

    def _name_of(self, filepath: str) -> str | None:
        return self._followed.coming.name_of(filepath) if self._followed is not None else None

    def _end_save(
        self, trainer: Trainer, asked: Asked, path: str, before: tuple[Ranked | None, str, str], outcome: SaveOutcome
    ) -> None:
        """Tell the loggers of a file that exists; forget one that could not be saved."""
        with self._decision():
            if outcome.error is not None:
                take_back(self, path, *before)
            if trainer.is_global_zero:
                asked.tell(trainer.loggers, self, is_saved=outcome.error is None)
