"""Kills and errors at every call while checkpoints are split, and joined again: a whole one is always there."""

import errno
from pathlib import Path

import pytest

import ckpt_callbacks
from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.thinned import EPOCHS, LOSSES, SUFFIX, WEIGHTS, read, train, weights
from tests.support.training import new_run
from tests.system.faults.rewrites import sweep_errors, sweep_kills

pytestmark = pytest.mark.slow

# The first epoch is the best one until the last: then it is joined, rounded and split again.
HIGHEST = Metric("val_loss", mode="max")
# Bytes: the weights take two files, and the record, of 1,000 with digits that differ in each run, always one.
EXACT = Contents("weights", shards={"max_size": 2000})
HALVED = Contents("weights", "bf16", shards={"max_size": 1400})
RULES = Policy(
    Every(epochs=1), KeepLast(2) | KeepBest(1, by=HIGHEST, contents=EXACT) | KeepBest(2, by=HIGHEST, contents=HALVED)
)


def promised(dirpath):
    """Return what the policy keeps of the epochs that were saved, and how much."""
    saved = [record for record in Manifest.read(dirpath).records.values() if record.status != "failed"]
    epochs = sorted({record.epoch for record in saved})
    # The state at the end, if it is saved in place of that of an epoch, has no measurements.
    ranked = sorted({record.epoch for record in saved if record.metrics}, key=lambda epoch: -LOSSES[epoch - 1])
    return {ranked[1]: "weights, bf16", ranked[0]: "weights", **dict.fromkeys(epochs[-2:], "full")}


def held_by(record):
    """Return what a checkpoint holds, after reading all of it."""
    verify(record)
    with ckpt_callbacks.native_path(record.path) as native:
        facts, found, optimizer = read(native)
    halved = bool(facts["record"].get("reduced"))
    assert found == (weights(record.epoch)[::2][: WEIGHTS // 2] if halved else weights(record.epoch))
    return "full" if optimizer else "weights, bf16" if halved else "weights"


def check(dirpath, epochs):
    """Open the directory as the next start does, check it, and train to the end."""
    run = new_run(dirpath, RULES, suffix=SUFFIX)
    run.open()
    run.close()
    records = run.view.records()
    # An error may leave a text file in the place of a link.
    assert {name.name for name in Path(dirpath).iterdir() if not name.is_symlink() and name.suffix != ".pointer"} <= {
        ".run", *(record.file for record in records),
    }  # fmt: skip
    for record in records:
        held_by(record)
        assert not record.replacement
    train(dirpath, epochs, RULES)
    found = {record.epoch: record for record in Manifest.read(dirpath).live()}
    assert {epoch: held_by(record) for epoch, record in found.items()} == promised(dirpath)
    assert {epoch for epoch, record in found.items() if not record.path.is_dir()} == set(sorted(found)[-2:])
    assert {path.name for path in Path(dirpath).iterdir() if not path.is_symlink()} == {
        ".run", *(record.file for record in found.values()),
    }  # fmt: skip
    assert not any((Path(dirpath) / ".run" / "staging").iterdir())


def run(dirpath, epochs=EPOCHS):
    train(dirpath, epochs, RULES)


def test_the_run_splits_joins_and_splits(place):
    run(dirpath := place())
    check(dirpath, EPOCHS)


def test_killed_at_every_call(place, figures):
    sweep_kills(place, figures, run, lambda dirpath: check(dirpath, EPOCHS), first=".shards")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_at_every_call(place, figures, error):
    sweep_errors(place, figures, run, lambda dirpath: check(dirpath, EPOCHS + 1), error, first=".shards")
