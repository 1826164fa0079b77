"""Real training runs on disks that fill up, that are not writable for a while, or whose files are deleted."""

import errno
import os
import shutil
import subprocess
from contextlib import suppress

import pytest

from ckpt_callbacks import Every, KeepAll, KeepLast, Policy, Status
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.support.training import run_of
from tests.system.faults.checks import damaged
from tests.system.faults.inject import interposed
from tests.system.faults.trainings import FRAMEWORKS, Lines, alone, load_framework, open_plainly, train

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("framework", FRAMEWORKS)]
EVERYTHING = Policy(Every(epochs=1), KeepAll())


@pytest.fixture
def small_disk(place):
    """Return a separate file system of 384 kB."""
    folder = place()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=384k", "faults", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def trains_to(epochs, framework, dirpath, **settings):
    """Train to the end, and check that all remaining checkpoints load."""
    callback = train(framework, dirpath, epochs=epochs, **settings)
    assert run_of(callback).state.epoch == epochs, "training ended too early"
    for record in callback.records():
        verify(record)
        open_plainly(record.path)
    return callback


def found(dirpath):
    """Return the records of what was saved, and of what failed."""
    records = Manifest.read(dirpath).records.values()
    return [r for r in records if r.status.on_disk], [r for r in records if r.status is Status.FAILED]


def test_a_disk_that_fills_up(small_disk, figures, framework):
    load_framework(framework)
    dirpath, epochs = small_disk / "run", 40
    alone(lambda: trains_to(epochs, framework, dirpath, policy=EVERYTHING))
    saved, failed = found(dirpath)
    assert saved and not damaged(dirpath)
    assert max(record.epoch for record in saved) < epochs, "the disk did not fill up"
    figures(f"{epochs} epochs, {len(saved)} checkpoints fit and load, {len(failed)} failures are on record")


def test_the_guard_leaves_free_what_it_was_told_to(small_disk, figures, framework):
    load_framework(framework)
    dirpath, epochs, min_free = small_disk / "run", 16, 100_000
    alone(lambda: trains_to(epochs, framework, dirpath, policy=EVERYTHING, min_free=min_free))
    saved, failed = found(dirpath)
    assert saved and not damaged(dirpath)
    assert failed and all(f"to leave min_free={min_free}" in record.error for record in failed)
    free = shutil.disk_usage(small_disk).free
    assert free >= min_free - 20_000  # a journal, and a save may be a little larger than the one before
    figures(f"{len(saved)} checkpoints fit, {len(failed)} were skipped, {free} bytes are free")


def test_the_guard_prunes_what_the_policy_allows(small_disk, figures, framework):
    load_framework(framework)
    dirpath, min_free = small_disk / "run", 100_000  # the check of Keras' files counts some kB a variable more
    alone(lambda: trains_to(4, framework, dirpath, policy=EVERYTHING))
    saved, _ = found(dirpath)
    before, room = {record.file for record in saved}, saved[-1].size * 4 // 5  # for the journal alone
    (small_disk / "others").write_bytes(bytes(shutil.disk_usage(small_disk).free - min_free - room))
    # No rule keeps the best, because that may be one more file, and what the model learns varies.
    policy = Policy(Every(epochs=1), KeepLast(2))
    alone(lambda: trains_to(6, framework, dirpath, policy=policy, min_free=min_free))
    saved, failed = found(dirpath)
    assert not failed and {record.epoch for record in saved} >= {5, 6}
    assert before - {record.file for record in saved}
    figures(f"{len(before)} checkpoints before, {len(saved)} behind, none of which was skipped")


def check_made_up_for(saved, failed, error):
    """Check that the second epoch's save failed, with its error recorded, and was repeated a step later."""
    assert [record.epoch for record in saved] == [1, 2, 3, 4]
    assert [record.epoch for record in failed] == [2] and error in failed[0].error
    assert saved[1].step == failed[0].step + 1


def immutable(path, on):
    return subprocess.run(["chattr", "+i" if on else "-i", str(path)], capture_output=True, text=True)


def test_a_permission_that_is_lost_for_a_while(place, tmp_path, figures, framework):
    # Root needs no permission, but not even root can create an entry in an immutable folder.
    trial = immutable(tmp_path, True)
    immutable(tmp_path, False)
    if trial.returncode != 0:
        pytest.skip(f"no folder can be made immutable here: {trial.stderr.strip()}")
    load_framework(framework)
    dirpath = tmp_path / "run"

    def at_epoch(epoch):
        if epoch in (1, 2):
            assert immutable(dirpath, epoch == 1).returncode == 0

    try:
        alone(lambda: trains_to(4, framework, dirpath, at_epoch=at_epoch, policy=EVERYTHING))
    finally:
        immutable(dirpath, False)
    saved, failed = found(dirpath)
    check_made_up_for(saved, failed, "not permitted")
    figures("1 save failed with EPERM and is on record, the next one worked")


def test_a_directory_that_is_deleted_in_mid_run(place, figures, framework):
    load_framework(framework)
    dirpath = place() / "run"

    def work():
        heard = Lines()
        trains_to(4, framework, dirpath, policy=EVERYTHING, at_epoch=lambda n: n == 2 and shutil.rmtree(dirpath))
        assert any("the run directory was renamed or deleted during training" in line for line in heard.lines)

    alone(work)
    saved, failed = found(dirpath)
    assert [record.epoch for record in saved] == [3, 4] and not failed and not damaged(dirpath)
    deleted = [record for record in Manifest.read(dirpath).records.values() if record.status is Status.DELETED]
    assert [(record.epoch, record.error) for record in deleted] == [(n, "deleted by another program") for n in (1, 2)]
    alone(lambda: trains_to(5, framework, dirpath, policy=EVERYTHING))
    figures("2 checkpoints were deleted by hand, and the next saves recreated the directory")


def test_a_journal_that_cannot_be_written_for_a_while(place, figures, framework):
    load_framework(framework)
    dirpath, broken = place() / "run", []

    def before(call):
        if broken and call.changing and call.path.endswith("manifest.jsonl"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), call.path)

    def at_epoch(epoch):
        broken[:] = [epoch] if epoch == 1 else []

    def work():
        heard = Lines()
        with interposed(dirpath, before):
            trains_to(4, framework, dirpath, policy=EVERYTHING, at_epoch=at_epoch)
        assert any("the failure could not be recorded" in line for line in heard.lines)

    alone(work)
    saved, failed = found(dirpath)
    check_made_up_for(saved, failed, "Input/output error")  # recorded from the next save on
    there = {path.name for path in dirpath.iterdir() if not path.is_symlink()}
    assert there == {".run", *(record.file for record in saved)}
    with suppress(FileNotFoundError):
        assert os.listdir(dirpath / ".run" / "staging") == []
    figures("1 save failed with EIO in the journal alone, and was put on record by the next one")
