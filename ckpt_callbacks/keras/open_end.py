"""The end of a fit that a callback has ended, without a sign that the run is finished."""

from __future__ import annotations

import logging

from ..run.run import Run
from .other_callbacks import OtherCallbacks

log = logging.getLogger("ckpt_callbacks")


def name_open_end(run: Run, others: OtherCallbacks, left: int) -> None:
    """Log that the script trains on if it is started again, unless it does not resume, or the callback ends it again.

    Args:
        run: The run, which has not ended the fit itself.
        others: The other callbacks of the fit.
        left: The number of epochs that are not done.
    """
    resumes = run.directory.announcements.resumes_itself
    if resumes and left > 0 and others.stopped(others.states(keep=False)) is None:
        log.warning(
            "%s: a callback has ended this fit by stop_training, %d epoch%s early; if the script is started again, it "
            "trains on; to end a run for good, use EarlyStopping or the policy's stop",
            run.dirpath, left, "" if left == 1 else "s",
        )  # fmt: skip
