"""`LightningCheckpoint`: a policy as a Lightning callback."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from os import PathLike
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..config.arguments import PolicyLike, build_config
from ..events import EventKind
from ..run.run import Run
from ..runtime.clock import Clock
from ..torch.staging import TorchStaging
from . import loops
from .averaging import end_averages
from .checkpoint_io import StagedCheckpointIO
from .compat import PeerNames
from .epoch_sums import forgotten_results
from .fit import Observing
from .fit_call import convert_in_time, path_to_load, refuse_last, refuse_to_begin_again
from .processes import TrainerPeers, check_same_path, leave_at_exit
from .progress import gather

log = logging.getLogger("ckpt_callbacks")


class LightningCheckpoint(Observing, PeerNames, Checkpoint):
    """Saves, keeps and stops as a policy says, with plain Lightning ``.ckpt`` files.

    Args:
        dirpath: The run directory. May be None when ``policy`` is a file that names it.
        policy: A `Policy`, the path of a YAML file, or what such a file holds.
        filename: Template such as ``"{epoch:03d}-{val_loss:.3f}"``.
        contents: ``"full"`` (a run can be resumed from it) or ``"weights"``.
        metadata: Facts for every record, such as ``{"dataset": "digits-v1"}``.
        on_error: ``"warn"``, or ``"raise"`` when a save fails.
        grace: With `OnPreempt`: time from a signal to the end of the process, in seconds or as ``"30 s"``.
        min_free: What a save must leave free on the disk, in bytes or as ``"5 GB"``; else it is skipped.
        background: Write on a thread beside the training's, which is blocked for a copy of the state alone; True by
            default. max_pending: snapshots that may wait to be written, 1 by default, each with memory of its own.
        when_busy: When as many do, ``"wait"``, or ``"skip"`` the save, which stays due. The last one is never skipped.
        staging: ``"none"`` for people without the memory: the state is written where it is, and training waits.
        allow_code: Let a YAML file name predicates to import.
        clock: For tests.

    Raises:
        ConfigError, PolicyError: what was given makes no sense.

    Use ``trainer.fit(model, ckpt_path=ckpt.resume_path())`` to resume: it is None on a fresh run.
    """

    def __init__(
        self,
        dirpath: str | PathLike[str] | None,
        policy: PolicyLike,
        *,
        filename: str | None = None,
        contents: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_error: str | None = None,
        grace: float | str | None = None,
        min_free: int | str | None = None,
        background: bool | None = None,
        max_pending: int | None = None,
        when_busy: str | None = None,
        staging: str | None = None,
        allow_code: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        config = build_config(
            "LightningCheckpoint", dirpath, policy, allow_code=allow_code, filename=filename, contents=contents,
            metadata=metadata, on_error=on_error, grace=grace, min_free=min_free, background=background,
            max_pending=max_pending, when_busy=when_busy, staging=staging,
        )  # fmt: skip
        settings = config.settings
        self._staging = settings.staging if settings.background else "none"  # a copy would be for nothing
        self._run = Run(
            config.policy, settings, format=".ckpt", name="LightningCheckpoint", described=config.described, clock=clock
        )
        self._reset()

    @classmethod
    def from_yaml(
        cls, path: str | PathLike[str], *, dirpath: str | PathLike[str] | None = None, **settings: Any
    ) -> LightningCheckpoint:
        """The callback that a YAML file describes; ``dirpath`` and other arguments given here win over the file."""
        return cls(dirpath, path, **settings)

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        return self._generate_state_key(dirpath=self.dirpath)

    def state_dict(self) -> dict[str, Any]:
        if not self._run.is_open:
            return {}
        return {"snapshot": self._run.snapshot()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING or not self._active:
            return
        if self._resumed_at is None:  # a second one is another callback's own, of what it found
            self._resumed_at = checkpoint.get("global_step", 0)
        states = checkpoint.get("callbacks", {})
        ours = [key for key in states if key.startswith(type(self).__name__)]
        # The key holds the directory; when that was moved, a single candidate is meant.
        key = self.state_key if self.state_key in states else ours[0] if len(ours) == 1 else None
        if key is None:
            log.warning(
                "%s: the checkpoint holds no state of this callback; its policy starts afresh", self._run.dirpath
            )
            return
        self._restored = states[key]
        self._loaders = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
        self._run.restore(self._restored["snapshot"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self._run.is_open:
            return
        # Of several callbacks, those behind the one that saves have not been told yet where training is.
        told = next((other for other in _ours_of(trainer) if other._run.facts() is not None), self)
        ours, position = checkpoint["callbacks"][self.state_key], told._position
        ours.update(position.shared_state(trainer), epochs=told._epochs)
        ours["processes"] = gather(position.own_state(trainer), trainer.world_size)
        position.mend(trainer, checkpoint["loops"])

    # -- hooks -------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._active = stage == "fit" and not trainer.fast_dev_run
        if not self._active:
            return
        refuse_last(self._run.dirpath)
        convert_in_time(trainer)
        self._reset(active=True)
        self._run.peers = TrainerPeers(trainer)
        check_same_path(trainer, self._run.peers, path_to_load())
        self._run.open()
        self._run.on_saved = lambda record: self._tell_loggers(trainer)
        self._io = StagedCheckpointIO(trainer.strategy.checkpoint_io, trainer, TorchStaging(self._staging))
        trainer.strategy.checkpoint_io = self._io

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._active:
            return
        self._position.begin_fit()
        if self._restored is not None or trainer.ckpt_path or not self._run.is_first_fit:
            return
        if next(self._run.resumable(), None) is not None:
            log.warning(
                "%s holds checkpoints, but training starts afresh; to continue from them, call "
                "trainer.fit(model, ckpt_path=ckpt.resume_path())",
                self._run.dirpath,
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._active:
            return
        restored, self._restored = self._restored, None
        self._started = True
        self._epochs = restored.get("epochs", self._run.state.epoch) if restored else trainer.current_epoch
        self._step = trainer.global_step
        refuse_to_begin_again(self._run.dirpath, self._step, self._resumed_at)
        if restored:
            own = restored["processes"][trainer.global_rank : trainer.global_rank + 1]
            self._position.restore(trainer, restored, own[0] if own else None, self._loaders)
            self._loaders = ()
            if not own:
                log.warning("%s: the checkpoint knows no random state for this process", self._run.dirpath)
        self._fresh.begin(trainer)
        decision = self._run.start(step=self._step, epoch=self._epochs)
        self._obey(trainer, decision)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._active:
            self._position.begin_epoch(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._resting.passes(trainer) or not self._active:
            return
        if trainer.global_step == max(self._step, self._resting.step) or self._resting.is_amid_update(trainer):
            return
        self._step, self._position.owed = trainer.global_step, "step"
        if not self._prepared:
            self._prepare(trainer)
        if not self._run.peers.alone:
            self._run.listen()
        whole, observed = loops.epoch_is_whole(trainer), False
        if loops.validation_follows(trainer):
            self._position.await_validation(trainer)
            self._answer(trainer)
        elif not whole:
            metrics = self._fresh.of_step(trainer, self._run.policy.monitored)
            self._observe(trainer, EventKind.STEP_END, metrics)
            observed = True
        if not whole:
            self._save_before_winding_down(trainer, unchanged=observed)
        self._position.owed = None
        self._resting.rest(trainer, self._step)

    def on_validation_epoch_start(self, *_: Any) -> None:
        self._averages.are_in = True

    def on_validation_epoch_end(self, *_: Any) -> None:
        self._averages.are_in = False

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._answer_within_validation(trainer)

    def on_before_optimizer_step(self, *_: Any) -> None:
        if self._io is not None:
            self._io.before_optimizer_step()

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._answer_within_validation(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._active or trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self._validated, self._step = True, trainer.global_step
        metrics = self._fresh.of_epoch(trainer)
        if loops.epoch_is_whole(trainer):
            self._waiting = (trainer.global_step, metrics)  # the epoch's own metrics come with its end
            return
        self._position.resume_epoch()
        self._observe(trainer, EventKind.VALIDATION_END, metrics)
        self._save_before_winding_down(trainer, unchanged=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._active or not loops.epoch_is_whole(trainer):
            return  # an epoch that was cut short does not count
        self._epochs += 1
        self._step = trainer.global_step
        metrics, partial = self._fresh.of_epoch(trainer), self._position.is_partial
        for name in forgotten_results(trainer) if partial else ():
            metrics.pop(name, None)  # a value of the last batches alone is none of the epoch's
        if self._waiting is not None and self._waiting[0] == self._step:
            metrics = {**self._waiting[1], **metrics}
        self._waiting = None
        self._position.end_epoch()
        self._position.owed = "epoch"
        loops.end_resumed_epoch(trainer)
        complete = (self._validated or not trainer.enable_validation) and not partial
        self._observe(trainer, EventKind.EPOCH_END, metrics, complete=complete)
        self._position.owed = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._active:
            self._step = trainer.global_step
            self._observe(trainer, EventKind.END, {})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if not self._active:
            return
        if not self._run.peers.alone:
            leave_at_exit()
        try:
            if isinstance(exception, SIGTERMException):
                # Lightning tells all processes of this one together, before their next batch.
                if self._started and self._run.policy.saves_on_preempt:
                    self._step = trainer.global_step
                    self._observe(trainer, EventKind.PREEMPT, {})
                exception.code = 128 + signal.SIGTERM
            elif self._started and self._run.is_open and trainer.world_size == 1:
                self._step = trainer.global_step  # another callback may have raised before this one was told
                self._observe(trainer, EventKind.EXCEPTION, {})
        finally:
            self._release(trainer, self._run.close)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self._active:
            return
        if self._restored is not None and not self._started:
            # The last epoch's own hooks were behind the save.
            loops.pay_plateau_steps(trainer, self._restored["owed"])
            end_averages(trainer)
            self._run.end_untrained()
            log.warning("%s: nothing left to train; the run ended at step %d", self._run.dirpath, self._run.state.step)
        self._release(trainer, self._run.end)


def _ours_of(trainer: Trainer) -> list[LightningCheckpoint]:
    return [callback for callback in trainer.callbacks if isinstance(callback, LightningCheckpoint)]
