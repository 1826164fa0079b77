"""Kills and errors at every call while checkpoints are compressed: a whole file is always there, and is known."""

import errno
import shutil
from pathlib import Path

import pytest

import ckpt_callbacks
from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.run.test_compressing import RULES
from tests.run.thinned import EPOCHS, LOSSES, SUFFIX, read, train, weights
from tests.support.training import new_run
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing

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
        ".ckpt", *(record.file for record in records),
    }  # fmt: skip
    for record in records:
        verify(record)
        with ckpt_callbacks.native_path(record.path) as native:
            assert read(native)[1] == weights(record.epoch) and not record.replacement
    train(dirpath, epochs, RULES)
    found = {record.epoch: record for record in Manifest.read(dirpath).live()}
    assert {epoch: record.contents for epoch, record in found.items()} == promised(dirpath)
    assert {epoch for epoch, record in found.items() if record.file.endswith(SUFFIX)} == {epochs}
    links = {f"{name}{SUFFIX}" for name in ("last", "final")} | {f"best{SUFFIX}.cz"}
    names = {path.name for path in Path(dirpath).iterdir()}
    assert names == {".ckpt", *(record.file for record in found.values()), *links}
    assert not any((Path(dirpath) / ".ckpt" / "staging").iterdir())


def run(dirpath, epochs=EPOCHS):
    train(dirpath, epochs, RULES)


def test_killed_at_every_call(place, figures):
    traced = place()
    calls = [call for call in listing(traced, lambda: run(traced)) if call.changing]
    first = next(call.number for call in calls if ".cz" in call.path)
    some = [call for call in calls if call.number >= first]
    tried = [(call, torn) for call in some for torn in ((False, True) if call.torn is not None else (False,))]
    losses = []
    for call, torn in tried:
        dirpath = place()

        def work(dirpath=dirpath, call=call, torn=torn):
            with interposed(dirpath, kill_before(call.number, torn)):
                run(dirpath)

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
    calls = listing(traced, lambda: run(traced))
    first = next(call.number for call in calls if ".cz" in call.path)
    losses, tried = [], [call for call in calls if call.number >= first]
    for call in tried:
        dirpath = place()
        try:
            with interposed(dirpath, fail(call.number, error)):
                run(dirpath)
            check(dirpath, EPOCHS + 1)
        except (AssertionError, CkptError, OSError) as caught:
            losses.append(f"{call.number} {call.name} {call.path}: {caught!r}")
        shutil.rmtree(dirpath)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried, losses = 0")
