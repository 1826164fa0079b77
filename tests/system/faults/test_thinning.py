"""Kills and errors at every call while checkpoints are reduced to their weights: one of both is always there."""

import errno
import shutil
from pathlib import Path

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import EPOCHS, LOSSES, POLICY, SUFFIX, read, train, weights
from tests.support.training import new_run
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing

pytestmark = pytest.mark.slow


def promised(dirpath):
    """Return what the policy keeps of the epochs that were ever saved, and how much: the last, and the two best."""
    records = Manifest.read(dirpath).records.values()
    epochs = sorted({record.epoch for record in records if record.status not in (Status.FAILED, Status.WRITING)})
    best = sorted(epochs, key=lambda epoch: LOSSES[epoch - 1])[:2]
    return {**dict.fromkeys(best, "weights"), **dict.fromkeys(epochs[-1:], "full")}


def check(dirpath, epochs):
    """Open the directory as the next start does, check it, and train to the end."""
    run = new_run(dirpath, POLICY, suffix=SUFFIX)
    run.open()
    run.close()
    records = {record.epoch: record for record in run.view.records()}
    assert set(promised(dirpath)) <= set(records), f"{sorted(records)} are left"
    for record in records.values():
        verify(record)
        assert read(record.path)[1] == weights(record.epoch) and not record.replacement
        assert bool(read(record.path)[2]) == (record.contents == "full")
    train(dirpath, epochs)
    found = {record.epoch: record.contents for record in Manifest.read(dirpath).live()}
    assert found == promised(dirpath) and found[epochs] == "full" and len(found) == 3
    names = {path.name for path in Path(dirpath).iterdir()}
    assert names == {".ckpt", *(f"{name}{SUFFIX}" for name in (*found, "last", "best", "final"))}
    assert not any((Path(dirpath) / ".ckpt" / "staging").iterdir())


def test_killed_at_every_call(place, figures):
    traced = place()
    calls = [call for call in listing(traced, lambda: train(traced)) if call.changing]
    tried = [(call, torn) for call in calls for torn in ((False, True) if call.torn is not None else (False,))]
    losses = []
    for call, torn in tried:
        dirpath = place()

        def work(dirpath=dirpath, call=call, torn=torn):
            with interposed(dirpath, kill_before(call.number, torn)):
                train(dirpath)

        assert in_child(work) == 9
        try:
            check(dirpath, EPOCHS)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{call.number} {call.name} {call.path}: {error!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} points tried, losses = 0")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_at_every_call(place, figures, error):
    traced = place()
    calls = listing(traced, lambda: train(traced))
    first = next(call.number for call in calls if ".thin" in call.path)
    losses, tried = [], [call for call in calls if call.number >= first]
    for call in tried:
        dirpath = place()
        try:
            with interposed(dirpath, fail(call.number, error)):
                train(dirpath)
            check(dirpath, EPOCHS + 1)
        except (AssertionError, CkptError, OSError) as caught:
            losses.append(f"{call.number} {call.name} {call.path}: {caught!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried, losses = 0")
