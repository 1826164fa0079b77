"""A kill or an error at every system call of a run that resumes where deleted records have left the journal."""

import errno
import shutil

import pytest

from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.store.manifest import Manifest
from tests.support.shares import share
from tests.system.faults.checks import check_goes_on, check_reopened, describe, prepared
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing
from tests.system.faults.test_errors import check
from tests.system.faults.test_kill import points
from tests.system.faults.writer import FILE, acknowledgements, train

pytestmark = pytest.mark.slow
BEFORE = 4  # epochs of the run before, which deletes two checkpoints
EPOCHS = 7


def resumable(place):
    """Return a directory with a history, and the file of acknowledgements."""
    dirpath, acknowledged = prepared(place)
    assert train(dirpath, acknowledged, FILE, BEFORE) == []
    return dirpath, acknowledged


def moved(dirpath):
    return Manifest.read(dirpath).history.moved.count


def calls_of(place):
    dirpath, acknowledged = resumable(place)
    before = moved(dirpath)
    calls = listing(dirpath, lambda: train(dirpath, acknowledged, FILE, EPOCHS))
    assert 0 < before < moved(dirpath), "nothing has moved"
    return calls


def test_killed_at_every_call(place, figures):
    calls, losses = calls_of(place), []
    tried = share(points(calls))
    for number, torn in tried:
        dirpath, acknowledged = resumable(place)

        def work(dirpath=dirpath, acknowledged=acknowledged, number=number, torn=torn):
            with interposed(dirpath, kill_before(number, torn)):
                train(dirpath, acknowledged, FILE, EPOCHS)

        assert in_child(work) == 9
        try:
            saved = acknowledgements(acknowledged)
            check_reopened(dirpath, saved, {saved[-1] + 1, saved[-1] + 2})
            check_goes_on(dirpath, acknowledged, epochs=EPOCHS)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{describe(calls[number - 1], dirpath)}: {error!r}")
        shutil.rmtree(dirpath.parent)
    assert not losses, "\n".join(losses)
    figures(f"{len(tried)} points tried, losses = 0")


def test_an_error_at_every_call(place, figures):
    calls, losses = calls_of(place), []
    begins = next(call.number for call in calls if "/staging/" in call.path and call.changing)
    # A start that cannot read the newest checkpoint resumes from an older one.
    tried = [call for call in calls if not (call.number < begins and call.path.endswith(".bin"))]
    for call in (tried := share(tried)):
        dirpath, acknowledged = resumable(place)
        try:
            starting = call.number < begins
            check(dirpath, acknowledged, FILE, fail(call.number, errno.EIO), starting, epochs=EPOCHS)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{describe(call, dirpath)}: {error!r}")
        shutil.rmtree(dirpath.parent)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried, losses = 0")
