"""The end of a resumed fit that has nothing left to train."""

from __future__ import annotations

import logging

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from ..run.announcements import run_out
from ..run.ended_fit import EndedFit
from ..run.run import Run
from . import loops
from .embedded import FitState
from .final_weights import end_with_final_weights, hooks_at_end
from .fit_call import is_of_later_fit
from .frozen_parameters import is_trained_now
from .previous_fit import PreviousFit
from .remedies import takes_resume
from .resume_point import ResumePoint

log = logging.getLogger("ckpt_callbacks")
_FOLD = ", with another model in this process; give each fold its own directory"
_LATER = ", in a later fit of this script, so this fit was completed before"
_PHASE = "a new phase of training needs its own directory"


def end_untrained(trainer: Trainer, run: Run, point: ResumePoint, previous: PreviousFit) -> None:
    """Bring the model to the end of the run, and log that nothing was left to train.

    Args:
        trainer: The trainer.
        run: The run.
        point: The place where the checkpoint was taken.
        previous: The callback's last fit.
    """
    run.begin_without_training()
    # Lightning takes these steps only after the save at the end of the last epoch.
    loops.apply_plateau_steps(trainer, point.state.plateau_steps)
    loaded = end_with_final_weights(trainer, run)
    run.directory.finish_last_save(run.state)
    why = _why(trainer, run, point.state, previous)
    record = run.view.find(trainer.ckpt_path or "")  # None if another callback has saved it
    run.directory.ended = EndedFit(run.view, run.fits.next_number if record is None else record.fit)
    run.fits.pass_over()
    run.directory.announcements.end_untrained(run.state.step, f"{why}{loaded}")
    # Whatever runs after the save at the end of the last epoch may have drawn random numbers.
    if loaded or hooks_at_end(trainer) or not point.end(trainer):
        log.warning(
            "%s: the random state at the end of this fit is not known, so random numbers drawn from now on may differ "
            "from those of the uninterrupted script; to get the same ones, seed again after each fit", run.dirpath,
        )  # fmt: skip


def _why(trainer: Trainer, run: Run, state: FitState, previous: PreviousFit) -> str:
    if is_of_later_fit(run, trainer.ckpt_path):
        return _LATER
    if previous.is_of_another_module(trainer):
        return _FOLD
    for callback in trainer.callbacks:
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None and left <= 0:
            spent = callback.time_elapsed()
            return f", because max_time is used up: it includes earlier fits ({spent:.0f} s in total); expected more"
    if trainer.global_step > loops.max_steps(trainer):
        return f", beyond max_steps={trainer.max_steps}, which includes earlier fits; {_PHASE}"
    if is_trained_now(trainer.lightning_module, state.frozen_at_start, state.frozen):
        return f", with other parameters frozen than now; {_PHASE}, or more epochs"
    if run.fits.were_for_another(trainer.lightning_module):
        return _FOLD
    if trainer.max_epochs not in (None, -1) and trainer.current_epoch >= trainer.max_epochs:
        again = "resume='never' and no ckpt_path" if takes_resume(trainer) else "no ckpt_path"
        return run_out(run.state.epoch, trainer.max_epochs, "max_epochs", again)
    return ""
