"""The drop-ins of one trainer, and the fits that they follow: one for each directory."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ...formats.torch import format as torch_zip
from ...policy.named_only import NamedOnly
from ...policy.policy import Policy
from ...run.run import Run
from ...settings import Settings
from ..callback import LightningCheckpoint
from ..epoch_data import explain_unloadable_state
from .coming_files import ComingFiles
from .followed_fit import FollowedFit
from .policy_of import ranking_of
from .requests import point

_followers: weakref.WeakKeyDictionary[Trainer, Followers] = weakref.WeakKeyDictionary()
_RESUME = "resume"  # the key of the state within this package's part of a checkpoint


@dataclass(frozen=True)
class Followed:
    """A fit that callbacks follow, because they save into its directory.

    Attributes:
        fit: The fit.
        coming: What will exist in the directory.
    """

    fit: FollowedFit
    coming: ComingFiles

    @property
    def is_single(self) -> bool:
        """Whether one process trains, so that it can save whenever it wants to."""
        return self.fit.run.processes.is_single


def new_run(settings: Settings) -> Run:
    """Return a run in which drop-ins decide what is saved."""
    return Run(Policy(NamedOnly()), settings, suffix=".ckpt", framework="lightning", name="ModelCheckpoint")


class Followers:
    """The drop-ins of one trainer. The last of them tells the fits what happens, when all of them have decided.

    Args:
        trainer: The trainer.

    Attributes:
        callbacks: The drop-ins that follow a fit.
        followed: The fit of each directory.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = weakref.ref(trainer)
        self.callbacks: list[object] = []
        self.followed: dict[str, Followed] = {}

    @classmethod
    def of(cls, trainer: object) -> Followers | None:
        """Return those of a trainer; None if there are none."""
        return _followers.get(trainer) if isinstance(trainer, Trainer) else None

    @classmethod
    def join(cls, trainer: Trainer, callback: ModelCheckpoint, settings: Settings) -> Followed:
        """Return the fit of the settings' directory, which ``callback`` follows from now on."""
        dirpath = str(settings.dirpath)
        found = _followers.setdefault(trainer, cls(trainer))
        if not any(one is callback for one in found.callbacks):
            found.callbacks.append(callback)
        if dirpath not in found.followed:
            fit = FollowedFit(new_run(settings), trainer, settings.staging if settings.background else "none")
            fit.follow()
            found.followed[dirpath] = Followed(fit, ComingFiles(fit, dirpath))
        directory = found.followed[dirpath].fit.run.directory
        directory.described = directory.described or ranking_of(callback)
        return found.followed[dirpath]

    @property
    def fits(self) -> list[FollowedFit]:
        """The fits of all directories."""
        return [followed.fit for followed in self.followed.values()]

    @classmethod
    def led(cls, trainer: Trainer, callback: object) -> Followers | None:
        """Return those of a trainer if ``callback`` is the last of them in the trainer's order; otherwise None."""
        if (found := cls.of(trainer)) is None:
            return None
        order = [one for one in trainer.callbacks if any(one is own for own in found.callbacks)]
        return found if order and order[-1] is callback else None

    def point(self, link: str, path: str) -> bool:
        """Ask for a symbolic link to a file of the same directory; return whether it is one of these."""
        for followed in self.followed.values():
            fit, coming = followed.fit, followed.coming
            name, to = coming.name_of(link), coming.name_of(path)
            if name is not None and to is not None:
                if name != to:
                    coming.expect(name, True)
                    fit.ask(partial(point, fit.run, name, to))
                return True
        return False

    # -- the state in a checkpoint -----------------------------------------------------------------------------------

    def save(self, checkpoint: dict[str, Any], others: Sequence[object]) -> None:
        """Add the state of the fits to a checkpoint that Lightning collects, and correct the state of its loops."""
        if not self.followed:  # the fit has ended
            return
        saving = next((fit for fit in self.fits if fit.is_saving), None)
        if saving is None and any(isinstance(one, LightningCheckpoint) for one in others):
            return  # that one's file has a state of its own
        saving = saving or next(iter(self.fits))
        runs = {path: one.fit.run_state()["snapshot"] for path, one in self.followed.items()}
        own = checkpoint.setdefault(torch_zip.KEY, {})
        own[_RESUME] = {"fit": saving.state(), "runs": runs}
        saving.correct(checkpoint["loops"])

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Process a checkpoint that Lightning loads."""
        own = checkpoint.get(torch_zip.KEY)
        found = own.get(_RESUME) if isinstance(own, dict) else None
        runs = found["runs"] if found is not None else {}
        only = next(iter(runs.values())) if len(runs) == 1 == len(self.followed) else None  # it may have moved
        for dirpath, followed in self.followed.items():
            run = runs.get(dirpath, only)
            followed.fit.resume(checkpoint, None if found is None else found["fit"], run)

    # -- the hooks ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the fit, before the first epoch's iterators are made."""
        for fit in self.fits:
            fit.begin()

    def start_training(self, module: LightningModule) -> None:
        """Start to train, where a checkpoint was taken if there is one."""
        trainer = self._trainer()
        others = [] if trainer is None else [one for one in trainer.callbacks if isinstance(one, LightningCheckpoint)]
        leads = not any(one._fit is not None and one._fit.is_resuming for one in others)
        for fit in self.fits:
            fit.hooks.call_after(module, "on_train_start", partial(fit.start_training, leads))
            leads = leads and not fit.is_resuming

    def start_epoch(self, module: LightningModule) -> None:
        """Start an epoch."""
        for fit in self.fits:
            fit.hooks.call_after(module, "on_train_epoch_start", fit.start_epoch)

    def begin_optimizer_step(self, module: LightningModule, optimizer: Any) -> None:
        """Protect what is still being copied."""
        for fit in self.fits:
            fit.io.before_optimizer_step()
            if not module.automatic_optimization:
                fit.inexactness.gradients.use(optimizer)

    def end_batch(self, trainer: Trainer, module: LightningModule) -> None:
        """End a batch."""
        for fit in self.fits:
            if not fit.gate.skips(trainer) or fit.is_asked:
                fit.hooks.call_after(module, "on_train_batch_end", fit.end_batch)

    def begin_validation(self) -> None:
        """Begin a validation."""
        for fit in self.fits:
            fit.begin_validation()

    def validate(self, begins: bool) -> None:
        """Begin, or end, the part of a validation in which averaged weights may be in the model."""
        for fit in self.fits:
            fit.averages.in_model = begins

    def pass_validation_batch(self) -> None:
        """Begin or end a batch of a validation."""
        for fit in self.fits:
            fit.pass_validation_batch()

    def end_validation(self, module: LightningModule) -> None:
        """End a validation."""
        for fit in self.fits:
            fit.hooks.call_after_validation(module, fit.validation_metrics, fit.end_validation)

    def end_epoch(self) -> None:
        """End an epoch."""
        for fit in self.fits:
            fit.end_epoch()

    def end_training(self, module: LightningModule) -> None:
        """End the training."""
        for fit in self.fits:
            fit.hooks.call_after(module, "on_train_end", fit.end_training)

    def fail(self, exception: BaseException) -> None:
        """End a fit that raised an exception."""
        if any(fit.is_resuming for fit in self.fits):
            explain_unloadable_state(exception)
        self._end(lambda fit: fit.fail(exception))

    def end(self) -> None:
        """End a fit that finished normally."""
        self._end(FollowedFit.end)

    def _end(self, end: Callable[[FollowedFit], None]) -> None:
        def leave() -> None:
            self.followed = {}
            if (trainer := self._trainer()) is not None:
                _followers.pop(trainer, None)

        with contextlib.ExitStack() as stack:  # each of them ends, whatever another one raises
            stack.callback(leave)
            for fit in reversed(self.fits):
                stack.callback(end, fit)
