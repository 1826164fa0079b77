"""The last fit of a callback, with which the next one is compared."""

from __future__ import annotations

import logging
import weakref
from os import PathLike

from lightning.pytorch import LightningModule, Trainer

from ..run.run import Run
from .step_count import StepCount

log = logging.getLogger("ckpt_callbacks")


class PreviousFit:
    """The module that a callback trained last.

    Args:
        resume: ``auto``, ``never`` or a path; see `LightningCheckpoint`.
    """

    def __init__(self, resume: str | PathLike[str]) -> None:
        self._resume = resume
        self._module: weakref.ref[LightningModule] | None = None
        self._steps = StepCount()

    def begin(self, trainer: Trainer, steps: StepCount) -> None:
        """Note the module of a fit that begins to train, and its count of steps."""
        self._module, self._steps = weakref.ref(trainer.lightning_module), steps

    def is_of_another_module(self, trainer: Trainer) -> bool:
        """Return whether there was a previous fit, and it trained a module other than the trainer's."""
        return self._module is not None and self._module() is not trainer.lightning_module

    def compare(self, trainer: Trainer, run: Run, steps: StepCount) -> None:
        """Compare a fit that loads no checkpoint with what was trained before, in this process and in the directory.

        If the fit does not continue the earlier training, as with the next fold, a new run begins.

        Args:
            trainer: The trainer.
            run: The run.
            steps: The fit's count of steps, which continues if the run does.
        """
        if run.is_first_fit:
            if run.directory.announcements.name_unusable(run.view):
                return
            if self._resume != "never":
                if run.fits.were_for_another(trainer.lightning_module):
                    run.directory.announcements.name_other_model("ckpt_path=ckpt.resume_path() to continue")
            else:
                log.warning(
                    "%s holds checkpoints, but training starts from scratch; to continue from them, call "
                    "trainer.fit(model, ckpt_path=ckpt.resume_path()), or pass resume='auto' to LightningCheckpoint",
                    run.dirpath,
                )
            return
        other = self.is_of_another_module(trainer)
        if not other and self._steps.now(trainer) >= run.state.step:
            steps.continue_from(self._steps)
            return
        what = "another model is trained" if other else f"training begins again at step {trainer.global_step}"
        log.warning(
            "%s: %s with the callback of an earlier fit, so a new run begins here; to keep runs (such as folds) apart, "
            "give each its own callback and directory",
            run.dirpath, what,
        )  # fmt: skip
        run.begin_new_run()
