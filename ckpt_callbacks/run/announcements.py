"""The lines of a run about its beginning and its end, in the same words in every framework."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path

from ..errors import first_line, listed
from ..policy.mirror import lost_with_disk
from ..policy.policy import Policy
from ..policy.smoothed_ranking import smoothed_ranking
from ..policy.unused_grace import unused_grace
from ..record import Record
from ..runtime.bare_log import announce
from ..settings import Settings
from ..store.condition import DAMAGED, condition
from .similar_directory import similar_run
from .view import RunView

log = logging.getLogger("ckpt_callbacks")

_OF_FILES = (".keras", ".h5", ".ckpt", ".pt", ".pth")


def run_out(done: int, asked: int, argument: str, fresh: str) -> str:
    """Return in words for `Announcements.end_untrained` that a run has as many epochs as were asked for.

    Args:
        done: Completed epochs.
        asked: The epochs that the script asks for.
        argument: The framework's argument for them.
        fresh: What to pass to train from the start.
    """
    return f", after {done} of {asked} epochs; to train more, raise {argument}; to begin again, pass {fresh}"


class Announcements:
    """The lines of one run.

    Args:
        dirpath: The run directory.

    Attributes:
        always_resumes: True if each `fit` of the callback continues the run when the script is started again.
        is_placed_by_logger: True if the directory may be another one at each start.
        resumed_from: The checkpoint that was loaded for the next start of training, if any.
    """

    def __init__(self, dirpath: Path) -> None:
        self._dirpath, self._resumable = dirpath, True
        self.always_resumes = self.is_placed_by_logger = self._is_asked = False
        self.resumed_from: str | PathLike[str] | None = None

    @property
    def resumes_itself(self) -> bool:
        """Whether the script continues the run when it is started again, as far as is known."""
        return self.always_resumes or self._is_asked

    def ask_to_resume(self) -> None:
        """Note that the script has asked for a checkpoint from which the next `fit`, or the running one, continues."""
        self._is_asked = True

    def end_fit(self) -> None:
        """Forget what was true of one `fit` only."""
        self._is_asked = False

    def limit(self, policy: Policy, settings: Settings) -> None:
        """Announce, before training, what may surprise.

        It is a directory named like a file, checkpoints or mirrors of weights, a grace period for signals that nothing
        answers, or a ranking by smoothed values.
        """
        if self._dirpath.suffix in _OF_FILES and not self._dirpath.is_dir():
            log.warning(
                "%s: is taken for the run directory, and its files get their names from filename; expected a "
                "directory, such as %s", self._dirpath, self._dirpath.with_suffix(""),
            )  # fmt: skip
        self._resumable = settings.contents != "weights"
        if not self._resumable:
            log.warning("%s: saves only weights; a run cannot be resumed from them", self._dirpath)
        if self._resumable and (problem := lost_with_disk(settings.mirrors)):
            announce("%s: %s", self._dirpath, problem)
        if unused := unused_grace(policy, settings):
            log.warning("%s: %s", self._dirpath, unused)
        if (ranking := smoothed_ranking(policy)) is not None:
            log.warning(
                "%s: checkpoints are ranked by %s, so the one with the best %s may be deleted; to keep it, rank by the "
                "metric without smoothing, and smooth only in Patience", self._dirpath, ranking.series, ranking.name,
            )  # fmt: skip

    def lack_deadline(self) -> None:
        """Announce that no deadline is known, although the policy has a rule for one."""
        log.warning(
            '%s: OnDeadline will never save: SLURM_JOB_END_TIME is not set; pass end="2026-11-24T23:00:00Z"',
            self._dirpath,
        )

    def start(self, policy: Policy, *, is_new: bool, is_first: bool, step: int, epoch: int) -> None:
        """Announce a start of training: a new run, or one that continues from a checkpoint.

        Args:
            policy: The policy.
            is_new: True if it begins a run.
            is_first: True if training was never started in the directory before.
            step: Optimizer updates done.
            epoch: Completed epochs.
        """
        path, self.resumed_from = self.resumed_from, None
        if path is not None:
            log.warning("resumed from %s, at step %d, epoch %d", path, step, epoch)
        elif is_new and not policy.names_are_given:
            best = f"; the best by {policy.best_metric.name}" if policy.best_metric is not None else ""
            announce(
                "%s: a new run begins; saves: %s%s%s", self._dirpath, policy.save.describe(), best,
                self._how("; if it is interrupted, "),
            )  # fmt: skip
            if is_first and self.resumes_itself and (similar := similar_run(self._dirpath)) is not None:
                log.warning("%s: holds no run to resume; did you mean %s, which holds one?", self._dirpath, similar)

    def name_unusable(self, view: RunView) -> bool:
        """Announce that training starts from scratch if the directory holds only damaged checkpoints, or weights.

        Args:
            view: The checkpoints of the directory.

        Returns:
            Whether a run can be resumed from none of them.
        """
        if any(record.id not in view.damaged for record in view.resumable()):
            return False
        manifest = view.manifest
        known = [r for r in list(manifest.records.values()) if r.run == view.run_id and r.contents == "full"]
        damaged = [r.file for r in known if condition(r) == DAMAGED or r.id in view.damaged]
        if damaged and self.resumes_itself:
            log.warning(
                "%s: no checkpoint that a run can be resumed from is intact, so training starts from scratch; damaged, "
                "and left as they are: %s", self._dirpath, listed(damaged),
            )  # fmt: skip
        elif any(record.contents == "weights" for record in manifest.live()):
            log.warning(
                "%s holds only checkpoints that a run cannot be resumed from, such as those of weights, so training "
                "starts from scratch", self._dirpath,
            )  # fmt: skip
        return True

    def name_other_model(self, how: str) -> None:
        """Announce that training starts from scratch, because this process has trained another model here.

        Args:
            how: What to pass in order to continue anyway.
        """
        log.warning(
            "%s: this process has trained another model here, so a new run begins from scratch; give each model "
            "(fold, trial) its own directory, or pass %s", self._dirpath, how,
        )  # fmt: skip

    def preempt(self, last: Record | None, step: int) -> None:
        """Announce what was saved for a signal.

        Args:
            last: The newest checkpoint.
            step: The step at which the signal was answered.
        """
        if last is None:
            log.warning("%s: nothing was saved", self._dirpath)
        elif last.step == step:
            log.warning("saved %s (step %d)%s", last.path, step, self._how("; "))
        else:
            log.warning(
                "%s: step %d was not saved; the newest checkpoint is %s, of step %d%s",
                self._dirpath, step, last.file, last.step, self._how("; "),
            )  # fmt: skip

    def blame_signal(self, error: BaseException) -> None:
        """Announce that a `fit` has failed while a signal asks it to end, which is then the likely cause.

        Args:
            error: What ended the `fit`.
        """
        log.warning(
            "%s: training ended with %s: %s; this is taken for a consequence of the signal, which may have ended a "
            "program that prepares the data", self._dirpath, type(error).__name__, first_line(error),
        )  # fmt: skip

    def end_untrained(self, step: int, why: str) -> None:
        """Announce that a `fit` has nothing left to train.

        Args:
            step: The step at which the run ended.
            why: Further words: the reason, and what to do.
        """
        log.warning("%s: nothing left to train; the run ended at step %d%s", self._dirpath, step, why)

    def _how(self, before: str) -> str:
        """Return how to resume, after the words ``before``."""
        if not self._resumable:
            return ""
        if self.is_placed_by_logger:
            return f"{before}pass dirpath={str(self._dirpath)!r} and resume='auto' to resume"
        how = "run the same command to resume" if self.resumes_itself else "pass resume='auto' to resume"
        return f"{before}{how}"
