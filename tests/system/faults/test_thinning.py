"""Kills and errors at every call while checkpoints are reduced to their weights: one of both is always there."""

import errno
import shutil
from pathlib import Path

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.policy.contents_order import held
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import EPOCHS, LOSSES, POLICY, ROUNDED, SUFFIX, read, train, weights
from tests.support.training import new_run
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing

pytestmark = pytest.mark.slow


POLICIES = {"weights": POLICY, "rounded": ROUNDED}
each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def promised(dirpath, policy):
    """Return what the policy keeps of the epochs that were ever saved, and how much: the last, and the two best."""
    records = Manifest.read(dirpath).records.values()
    epochs = sorted({record.epoch for record in records if record.status not in (Status.FAILED, Status.WRITING)})
    best = sorted(epochs, key=lambda epoch: LOSSES[epoch - 1])[:2]
    second = "weights, bf16" if policy is ROUNDED else "weights"
    return {**dict(zip(best, ("weights", second), strict=False)), **dict.fromkeys(epochs[-1:], "full")}


def check(dirpath, epochs, policy):
    """Open the directory as the next start does, check it, and train to the end."""
    run = new_run(dirpath, policy, suffix=SUFFIX)
    run.open()
    run.close()
    records = {record.epoch: record for record in run.view.records()}
    assert set(promised(dirpath, policy)) <= set(records), f"{sorted(records)} are left"
    for record in records.values():
        verify(record)
        expected = weights(record.epoch)[:: 2 if record.reduced else 1]
        assert read(record.path)[1] == expected and not record.replacement
        assert bool(read(record.path)[2]) == (record.contents == "full")
    train(dirpath, epochs, policy)
    found = {record.epoch: str(held(record)) for record in Manifest.read(dirpath).live()}
    assert found == promised(dirpath, policy) and found[epochs] == "full" and len(found) == 3
    names = {path.name for path in Path(dirpath).iterdir()}
    assert names == {".ckpt", *(f"{name}{SUFFIX}" for name in (*found, "last", "best", "final"))}
    assert not any((Path(dirpath) / ".ckpt" / "staging").iterdir())


@each_policy
def test_killed_at_every_call(place, figures, policy):
    traced = place()
    calls = [call for call in listing(traced, lambda: train(traced, policy=policy)) if call.changing]
    tried = [(call, torn) for call in calls for torn in ((False, True) if call.torn is not None else (False,))]
    losses = []
    for call, torn in tried:
        dirpath = place()

        def work(dirpath=dirpath, call=call, torn=torn):
            with interposed(dirpath, kill_before(call.number, torn)):
                train(dirpath, policy=policy)

        assert in_child(work) == 9
        try:
            check(dirpath, EPOCHS, policy)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{call.number} {call.name} {call.path}: {error!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} points tried, losses = 0")


@each_policy
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_at_every_call(place, figures, error, policy):
    traced = place()
    calls = listing(traced, lambda: train(traced, policy=policy))
    first = next(call.number for call in calls if ".thin" in call.path)
    losses, tried = [], [call for call in calls if call.number >= first]
    for call in tried:
        dirpath = place()
        try:
            with interposed(dirpath, fail(call.number, error)):
                train(dirpath, policy=policy)
            check(dirpath, EPOCHS + 1, policy)
        except (AssertionError, CkptError, OSError) as caught:
            losses.append(f"{call.number} {call.name} {call.path}: {caught!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried, losses = 0")
