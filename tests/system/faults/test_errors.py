"""Failures of single calls: training continues, older checkpoints stay, the next save works, the error is reported."""

import errno
import logging
import os
import shutil

import pytest

from ckpt_callbacks import CkptError, Status
from ckpt_callbacks.store.manifest import Manifest
from tests.support.shares import share
from tests.system.faults.checks import check_finished, check_reopened, describe, prepared
from tests.system.faults.inject import fail, interposed, listing, shorten
from tests.system.faults.writer import DIRECT, FILE, FOLDER, acknowledgements, now, promised, train

pytestmark = pytest.mark.slow
EPOCHS = 4  # the last two of them delete a checkpoint


class Lines(logging.Handler):
    """A handler that keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def failing(dirpath, acknowledged, kind, before, starting, epochs):
    """Train with a fault, and return the epochs that were not saved; None if training could not begin."""
    heard, logger = Lines(), logging.getLogger("ckpt_callbacks")
    logger.addHandler(heard)
    try:
        with interposed(dirpath, before):
            missed = train(dirpath, acknowledged, kind, epochs)
    except CkptError:
        assert starting, "the training was ended"
        return None
    finally:
        logger.removeHandler(heard)
    recorded = {r.epoch for r in Manifest.read(dirpath).records.values() if r.status is Status.FAILED and r.error}
    for epoch in missed:
        assert any(f"step {epoch * 10} was not saved" in line for line in heard.lines), f"epoch {epoch}: nobody said so"
        unrecorded = any("could not be recorded" in line for line in heard.lines)
        assert epoch in recorded or unrecorded, f"epoch {epoch}: is not on record"
    return missed


def check(dirpath, acknowledged, kind, before, starting, epochs=EPOCHS):
    missed = failing(dirpath, acknowledged, kind, before, starting, epochs)
    saved = acknowledgements(acknowledged)
    if missed:
        assert len(missed) == 1, f"not saved: {missed}"
    unsaid = set(missed or ())  # reported as failed, but perhaps found intact later
    survivors = check_reopened(dirpath, saved, unsaid, kind)
    assert train(dirpath, acknowledged, kind, epochs + 1) == []
    trained = sorted({*acknowledgements(acknowledged), *survivors})
    check_finished(dirpath, kind, promised(trained), extra=1)


def faults(calls):
    """Return each fault as a name and an action."""
    for call in calls:
        yield call, "EIO", fail(call.number, errno.EIO)
        if call.changing:
            yield call, "ENOSPC", fail(call.number, errno.ENOSPC)
            # Through the second try, the removal of what was written, and the record of the failure.
            yield call, "EIO for all of the save", fail(call.number, errno.EIO, lambda: now.epoch)
            yield call, "ENOSPC for all of the save", fail(call.number, errno.ENOSPC, lambda: now.epoch)
        if call.torn is not None:
            yield call, "a short write", shorten(call.number)
        if call.name in ("pwrite", "fallocate") or ("/staging/" in call.path and call.name == "create"):
            yield call, "EINVAL", fail(call.number, errno.EINVAL)  # a file system that cannot do this


@pytest.mark.parametrize("kind", [FILE, FOLDER, DIRECT])
def test_an_error_at_every_call(place, figures, kind):
    dirpath, acknowledged = prepared(place)
    calls = listing(dirpath, lambda: train(dirpath, acknowledged, kind, EPOCHS))
    assert {"manifest.new", "history.jsonl"} <= {os.path.basename(call.path) for call in calls}, "nothing has moved"
    begins = next(call.number for call in calls if "/staging" in call.path and call.name == "mkdir")
    losses, tried = [], 0
    for call, name, before in share(faults(calls)):
        dirpath, acknowledged = prepared(place)
        tried += 1
        try:
            check(dirpath, acknowledged, kind, before, starting=call.number < begins)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{name} at {describe(call, dirpath)}: {error!r}")
        shutil.rmtree(dirpath.parent)
    assert not losses, f"{len(losses)} of {tried}\n" + "\n".join(losses)
    figures(f"{tried} faults tried at {len(calls)} calls, losses = 0")
