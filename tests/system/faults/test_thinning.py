"""Kills and errors at every call while checkpoints are reduced to their weights: one of both is always there."""

import errno
from pathlib import Path

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.policy.contents_order import held
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import EPOCHS, LOSSES, POLICY, ROUNDED, SUFFIX, read, train, weights
from tests.support.training import new_run
from tests.system.faults.rewrites import sweep_errors, sweep_kills

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
    assert names == {".run", *(f"{name}{SUFFIX}" for name in (*found, "last", "best", "final"))}
    assert not any((Path(dirpath) / ".run" / "staging").iterdir())


@each_policy
def test_killed_at_every_call(place, figures, policy):
    def run(dirpath):
        train(dirpath, policy=policy)

    sweep_kills(place, figures, run, lambda dirpath: check(dirpath, EPOCHS, policy))


@each_policy
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_at_every_call(place, figures, error, policy):
    def run(dirpath):
        train(dirpath, policy=policy)

    sweep_errors(place, figures, run, lambda dirpath: check(dirpath, EPOCHS + 1, policy), error, first=".thin")
