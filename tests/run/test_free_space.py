"""The guard for free space: it prunes what the policy allows first, then skips the save with a reason on record."""

import os
import shutil

import pytest

from ckpt_callbacks import EventKind, Every, KeepAll, KeepLast, Policy, Status
from ckpt_callbacks.testing import FakeWriter
from tests.support.training import new_run, report, start

SIZE = 1000


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Simulate a disk with a capacity in bytes, which the files in the run directory use up."""
    real = shutil.disk_usage

    def capacity(size):
        def usage(path):
            used = sum(p.stat().st_size for p in tmp_path.iterdir() if p.is_file() and not p.is_symlink())
            return real(path)._replace(free=size - used)

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return capacity


@pytest.fixture
def silent(monkeypatch):
    """Simulate a file system that does not report its size, like some in user space."""
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(total=0, used=0, free=0))


def train(dirpath, keep, steps, min_free, written=None):
    """Save after each of the steps; ``written`` receives the contents of the directory whenever a save is written."""
    run = new_run(dirpath, Policy(Every(epochs=1), keep), min_free=min_free)
    run.open()
    run.directory.manifest.refresh()
    if (newest := next(run.view.verified_resumable(), None)) is not None:
        run.view.current = newest.run
    start(run, step=steps[0] - 1, epoch=steps[0] - 1)

    class Stage(FakeWriter):
        def write(self, path):
            if written is not None:
                written.append(sorted(name for name in os.listdir(dirpath) if name.endswith("0.raw")))
            return super().write(path)

    for step in steps:
        report(run, EventKind.EPOCH_END, step=step * 10, epoch=step, complete=True, stage=Stage(bytes(SIZE)))
    run.close()
    return run


def test_what_no_rule_keeps_any_more_is_deleted_before_the_save_is_written(tmp_path, disk):
    disk(10 * SIZE)
    train(tmp_path, KeepAll(), (1, 2, 3), 0)
    disk(3 * SIZE + 500)  # no room for a fourth one
    written = []
    run = train(tmp_path, KeepLast(1), (4,), 500, written)
    assert written == [["model-003-30.raw"]]  # already alone
    assert [record.epoch for record in run.view.records()] == [4]
    assert not [record for record in run.directory.manifest.records.values() if record.status is Status.FAILED]


def test_if_every_checkpoint_is_kept_the_save_is_skipped_and_says_why(tmp_path, disk, caplog):
    disk(10 * SIZE)
    train(tmp_path, KeepAll(), (1, 2, 3), 0)
    disk(3 * SIZE + 1400)
    written = []
    run = train(tmp_path, KeepAll(), (4,), 500, written)
    assert written == []
    assert [record.epoch for record in run.view.records()] == [1, 2, 3]
    (failed,) = [record for record in run.directory.manifest.records.values() if record.status is Status.FAILED]
    why = "1400 bytes are free; 1500 are needed to leave min_free=500"
    assert why in failed.error and why in caplog.text
    disk(3 * SIZE + 1500)  # one that just fits
    assert [record.epoch for record in train(tmp_path, KeepAll(), (5,), 500).view.records()] == [1, 2, 3, 5]


def test_a_disk_that_does_not_say_how_much_is_left_counts_as_large(tmp_path, silent):
    run = train(tmp_path, KeepAll(), (1,), 10 * SIZE)
    assert [record.epoch for record in run.view.records()] == [1]
