"""Kills and errors at every call while checkpoints are compressed: a whole file is always there, and is known."""

import errno
from pathlib import Path

import pytest

import ckpt_callbacks
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.test_compressing import RULES
from tests.run.thinned import EPOCHS, LOSSES, SUFFIX, read, train, weights
from tests.support.training import new_run
from tests.system.faults.rewrites import sweep_errors, sweep_kills

pytestmark = pytest.mark.slow


def promised(dirpath):
    """Return what the policy keeps of the epochs that were saved, and how much: the last three, and the two best."""
    epochs = sorted({record.epoch for record in Manifest.read(dirpath).records.values() if record.status != "failed"})
    best = sorted(epochs, key=lambda epoch: LOSSES[epoch - 1])[:2]
    return {**dict.fromkeys(best, "weights"), **dict.fromkeys(epochs[-3:], "full")}


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
        verify(record)
        with ckpt_callbacks.native_path(record.path) as native:
            assert read(native)[1] == weights(record.epoch) and not record.replacement
    train(dirpath, epochs, RULES)
    found = {record.epoch: record for record in Manifest.read(dirpath).live()}
    assert {epoch: record.contents for epoch, record in found.items()} == promised(dirpath)
    assert all(record.file.endswith(f"{SUFFIX}.cz") for record in found.values())
    links = {f"{name}{SUFFIX}.cz" for name in ("last", "best", "final")}
    names = {path.name for path in Path(dirpath).iterdir()}
    assert names == {".run", *(record.file for record in found.values()), *links}
    assert not any((Path(dirpath) / ".run" / "staging").iterdir())


def run(dirpath, epochs=EPOCHS):
    train(dirpath, epochs, RULES)


def test_killed_at_every_call(place, figures):
    sweep_kills(place, figures, run, lambda dirpath: check(dirpath, EPOCHS), first=".cz")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_at_every_call(place, figures, error):
    sweep_errors(place, figures, run, lambda dirpath: check(dirpath, EPOCHS + 1), error, first=".cz")
