"""Kills and errors at every call of a run that rewrites its checkpoints."""

import shutil

from ckpt_callbacks.errors import CkptError
from tests.support.shares import share
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing


def sweep_kills(place, figures, run, check, first=""):
    """Kill the run before each call that changes the disk, and in the middle of each write.

    Args:
        place: Returns a new directory.
        figures: Prints what was tried.
        run: Trains in a directory.
        check: Checks what is left in a directory.
        first: What the path of the first call that is tried contains.
    """
    traced = place()
    calls = listing(traced, lambda: run(traced))
    calls = [call for call in _from(first, calls) if call.changing]
    tried = share((call, torn) for call in calls for torn in ((False, True) if call.torn is not None else (False,)))
    losses = []
    for call, torn in tried:
        dirpath = place()

        def work(dirpath=dirpath, call=call, torn=torn):
            with interposed(dirpath, kill_before(call.number, torn)):
                run(dirpath)

        assert in_child(work) == 9, f"{call.number} {call.name} {call.path} of {len(calls)} was not reached"
        try:
            check(dirpath)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{call.number} {call.name} {call.path}: {error!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} points tried, losses = 0")


def sweep_errors(place, figures, run, check, error, first):
    """Let each call fail, from the first one whose path contains ``first`` on; otherwise as `sweep_kills`.

    Args:
        error: The number of the error.
    """
    traced = place()
    tried = share(_from(first, listing(traced, lambda: run(traced))))
    losses = []
    for call in tried:
        dirpath = place()
        try:
            with interposed(dirpath, fail(call.number, error)):
                run(dirpath)
            check(dirpath)
        except (AssertionError, CkptError, OSError) as caught:
            losses.append(f"{call.number} {call.name} {call.path}: {caught!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried, losses = 0")


def _from(first, calls):
    begin = next(number for number, call in enumerate(calls) if first in call.path)
    return calls[begin:]
