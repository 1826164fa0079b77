"""The exceptions with which a signal ends a fit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..errors import CkptError
from ..run.run import Run


def is_preemption(exception: BaseException, run: Run) -> bool:
    """Return whether a fit ends with this exception because of a signal that the run has not answered.

    Args:
        exception: What Lightning reports.
        run: The run of the fit.
    """
    if isinstance(exception, SIGTERMException):  # raised in all processes, before their next batch
        return True
    # For example, a fit within this one has answered the signal, or the processes that load the data died of it.
    return run.processes.is_single and run.should_exit


def end_of(run: Run, exception: BaseException) -> Callable[[], object]:
    """Return the method that ends the run of a fit that ended with this exception.

    If a signal is pending, it ends the process as the signal asks. The signal to the process group may have killed the
    processes that load the data, or a program that these processes use. An exception that has another cause comes again
    when the run is resumed.
    """
    if not isinstance(exception, Exception) or isinstance(exception, CkptError):
        return run.close
    if is_preemption(exception, run):
        run.directory.announcements.blame_signal(exception)
    return partial(run.end, complete=False)


def set_exit_code(exception: BaseException) -> None:
    """Let a script that Lightning ends for SIGTERM exit with the code of that signal."""
    if isinstance(exception, SIGTERMException):
        exception.code = 128 + signal.SIGTERM
