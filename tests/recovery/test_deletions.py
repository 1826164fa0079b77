"""Deletions that the journal contains and the disk does not, after a power loss or in a copy of a live run."""

import os
import shutil
from pathlib import Path

import pytest

from ckpt_callbacks import EventKind, Every, KeepBest, KeepLast, Metric, Policy, Status
from ckpt_callbacks.formats import Written
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.run.embedded_state import embed_state
from ckpt_callbacks.run.reader import RunReader
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.content import NumberedContent
from tests.support.training import new_run, report, start

VAL = Metric("val", mode="min")
NEWEST = Policy(Every(epochs=1), KeepLast(1))


class Weights(NumberedContent):
    """A checkpoint, as a file or as a folder of two, whose bytes follow from the epoch."""

    def write(self, path):
        content = b"%d" % self.number * 1000
        if self.folder:
            (path / "shards").mkdir(parents=True)
            (path / "shards" / "0.bin").write_bytes(content)
            path /= "state.bin"
        path.write_bytes(content)
        return Written()


def train(dirpath, epochs, values=(0, 3, 2, 1), policy=NEWEST, kind="file", **settings):
    """Save at the end of each epoch; return what a copy of each checkpoint is, made before it may be deleted."""
    run, copies = new_run(dirpath, policy, background=False, **settings), {}
    run.open()
    start(run)
    for epoch in range(1, epochs + 1):
        save(run, epoch, values[epoch], kind)
        copies[epoch] = copy(run.view.last().path, dirpath.parent / f"copy of {epoch}")
    run.close()
    return copies


def save(run, epoch, value=1.0, kind="file"):
    facts = {"step": epoch, "epoch": epoch, "metrics": {"val": value}, "complete": True}
    report(run, EventKind.EPOCH_END, stage=lambda _: Weights(epoch, kind == "folder"), **facts)


def copy(path, target):
    return Path(shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target))


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def record_of(dirpath, epoch):
    return next(r for r in Manifest.read(dirpath).records.values() if r.epoch == epoch)


def bring_back(dirpath, copies, epoch):
    """Undo a deletion on the disk, of which the journal knows, but not that it was completed."""
    record = record_of(dirpath, epoch)
    assert record.status is Status.DELETED and not record.path.exists()
    copy(copies[epoch], record.path)
    return Manifest.read(dirpath).change(record.id, absent=False)


def put_back(dirpath, copies, epoch):
    """Put a checkpoint back whose deletion was completed."""
    record = record_of(dirpath, epoch)
    assert record.status is Status.DELETED and not record.path.exists()
    copy(copies[epoch], record.path)
    return record


def truncate(path):
    path = path / "state.bin" if path.is_dir() else path
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    path = path / "state.bin" if path.is_dir() else path
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def lose_a_file_in_it(path):
    (path / "shards" / "0.bin").unlink()


def by_resume_path(dirpath):
    run = new_run(dirpath, NEWEST)
    return RunReader(lambda _: run, run.settings).resume_path()


def by_opening(dirpath):
    run = new_run(dirpath, NEWEST)
    run.open()
    newest = next(run.view.verified_resumable(), None)
    run.close()
    return str(newest.path) if newest else None


def by_doctor(dirpath):
    assert ckpt("doctor", dirpath).exit_code == 0
    run = new_run(dirpath, NEWEST)
    newest = next(run.view.verified_resumable(), None)
    return str(newest.path) if newest else None


WAYS = pytest.mark.parametrize("way", [by_resume_path, by_opening, by_doctor], ids=lambda way: way.__name__)


@WAYS
@pytest.mark.parametrize(
    ("kind", "harm"),
    [("file", remove), ("file", truncate), ("file", flip)]
    + [("folder", remove), ("folder", truncate), ("folder", flip), ("folder", lose_a_file_in_it)],
)
def test_the_only_intact_checkpoint_is_kept(tmp_path, way, kind, harm):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2, kind=kind)
    older = bring_back(dirpath, copies, 1)
    harm(record_of(dirpath, 2).path)
    assert way(dirpath) == str(older.path)
    assert Manifest.read(dirpath).records[older.id].status is Status.VERIFIED
    assert by_resume_path(dirpath) == by_opening(dirpath) == by_doctor(dirpath) == str(older.path)
    assert (dirpath / "last.raw").resolve() == older.path


@WAYS
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_deletion_is_finished_while_its_successor_is_there(tmp_path, way, kind):
    dirpath = tmp_path / "run"
    older = bring_back(dirpath, train(dirpath, 2, kind=kind), 1)
    assert way(dirpath) == str(record_of(dirpath, 2).path)
    assert not older.path.exists()
    assert Manifest.read(dirpath).records[older.id].status is Status.DELETED
    assert list((dirpath / ".run").glob("staging/*")) == []


@WAYS
def test_the_best_of_those_that_are_left_is_kept(tmp_path, way):
    """The one that took its place is missing, though another, worse one is intact."""
    dirpath = tmp_path / "run"
    policy = Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL))
    copies = train(dirpath, 3, values=(0, 2, 1, 3), policy=policy)
    older = bring_back(dirpath, copies, 1)
    record_of(dirpath, 2).path.unlink()
    assert way(dirpath) == str(record_of(dirpath, 3).path)
    run = new_run(dirpath, policy)
    run.view.refresh()
    assert run.view.best().path == older.path and older.path.exists()


@WAYS
def test_weights_do_not_replace_a_full_checkpoint(tmp_path, way):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older, newer = bring_back(dirpath, copies, 1), record_of(dirpath, 2)
    Manifest.read(dirpath).change(newer.id, resumable=False)
    assert way(dirpath) == str(older.path)
    assert newer.path.exists()


@WAYS
def test_a_dead_branch_does_not_replace_a_resumable_checkpoint(tmp_path, way):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older, newer = bring_back(dirpath, copies, 1), record_of(dirpath, 2)
    manifest = Manifest.read(dirpath)
    manifest.change(newer.id, superseded=True)
    manifest.start(Attempt(newer.run, 2, older.id, 0.0))
    manifest.put(newer.replace(id=3, epoch=3, file="3.raw", attempt=2, status=Status.DELETED, absent=True))
    assert way(dirpath) == str(older.path)
    assert record_of(dirpath, 2).superseded and not record_of(dirpath, 1).superseded


@WAYS
@pytest.mark.parametrize("harm", [None, remove])
def test_weights_replace_weights_that_exist(tmp_path, way, harm):
    dirpath = tmp_path / "run"
    older = bring_back(dirpath, train(dirpath, 2, contents="weights"), 1)
    if harm is not None:
        harm(record_of(dirpath, 2).path)
    assert way(dirpath) is None
    assert older.path.exists() == (harm is not None)


@WAYS
def test_a_checkpoint_of_another_run_replaces_none(tmp_path, way):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older, newer = bring_back(dirpath, copies, 1), record_of(dirpath, 2)
    newer.path.unlink()
    run = new_run(dirpath, NEWEST, background=False)
    shutil.move(older.path, tmp_path / "aside")  # so that opening the directory does not find it
    run.open()
    start(run)
    save(run, 3)
    run.close()
    shutil.move(tmp_path / "aside", older.path)
    Manifest.read(dirpath).change(newer.id, status=Status.VERIFIED, error=None)
    assert way(dirpath) == str(record_of(dirpath, 3).path)
    assert older.path.exists()


@WAYS
def test_a_folder_whose_deletion_had_begun_is_moved_back(tmp_path, way):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2, kind="folder")
    older = record_of(dirpath, 1)
    copy(copies[1], dirpath / ".run" / "staging" / f"{older.file}.deleted")
    shutil.rmtree(record_of(dirpath, 2).path)
    assert way(dirpath) == str(older.path)
    assert list((dirpath / ".run").glob("staging/*")) == []


@WAYS
@pytest.mark.parametrize("there", ["the successor", "nothing"])
def test_a_folder_of_which_a_part_was_deleted_does_not_come_back(tmp_path, way, there):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2, kind="folder")
    older, newer = record_of(dirpath, 1), record_of(dirpath, 2)
    aside = copy(copies[1], dirpath / ".run" / "staging" / f"{older.file}.deleted")
    if there == "nothing":
        lose_a_file_in_it(aside)
        shutil.rmtree(newer.path)
    assert way(dirpath) == (str(newer.path) if there == "the successor" else None)
    assert not older.path.exists() and not aside.exists()


@WAYS
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_rename_that_a_power_loss_undid_is_repeated(tmp_path, way, kind):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2, kind=kind)
    newer = record_of(dirpath, 2)
    os.rename(newer.path, dirpath / ".run" / "staging" / f"{newer.run}-{newer.id}.raw")
    older = bring_back(dirpath, copies, 1)
    assert way(dirpath) == str(newer.path)
    assert not older.path.exists()


@WAYS
def test_what_another_program_removed_and_brought_back_counts_again(tmp_path, way):
    """The journal vanished during training, and was rewritten while the checkpoint lay elsewhere."""
    dirpath = tmp_path / "run"
    train(dirpath, 2)
    record, aside = record_of(dirpath, 2), tmp_path / "aside"
    run = new_run(dirpath, Policy(Every(epochs=1), KeepLast(9)), background=False)
    run.open()
    start(run)
    shutil.move(record.path, aside)
    (dirpath / ".run" / "manifest.jsonl").unlink()
    save(run, 3)
    run.close()
    assert Manifest.read(dirpath).records[record.id].error == "deleted by another program"
    shutil.move(aside, record.path)
    assert way(dirpath) == str(record_of(dirpath, 3).path)
    assert record.path.exists()
    again = Manifest.read(dirpath).records[record.id]
    assert again.status is Status.VERIFIED and again.error is None


@WAYS
def test_a_copy_of_a_live_run_whose_journal_is_newer_than_its_files(tmp_path, way):
    live, copied = tmp_path / "live", tmp_path / "copied"
    run = new_run(live, NEWEST, background=False)
    run.open()
    start(run)
    save(run, 1)
    copied.mkdir()
    for path in live.glob("*.raw"):
        shutil.copy2(path, copied / path.name, follow_symlinks=False)
    save(run, 2)
    save(run, 3)
    shutil.copytree(live / ".run", copied / ".run")
    run.close()
    assert way(copied) == str(copied / record_of(copied, 1).file)


def test_a_run_resumes_from_it_and_then_deletes_it(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older = bring_back(dirpath, copies, 1)
    record_of(dirpath, 2).path.unlink()
    run = new_run(dirpath, NEWEST, background=False)
    run.open()
    run.restore(embed_state(State(), older.run, 1, newest=older, saving=False, records={}))
    start(run, step=1, epoch=1)
    save(run, 2)
    run.close()
    assert not older.path.exists()
    assert [record.epoch for record in Manifest.read(dirpath).live()] == [2]


def test_a_dry_run_says_what_would_be_kept_and_changes_nothing(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older = bring_back(dirpath, copies, 1)
    record_of(dirpath, 2).path.unlink()
    said = ckpt("doctor", dirpath, "--dry-run")
    expected = "its deletion was interrupted, and a checkpoint that was to remain is not intact; would be kept, because"
    assert said.exit_code == 1 and f"{older.file}: {expected}" in said.stdout
    assert Manifest.read(dirpath).records[older.id].status is Status.DELETED and older.path.exists()
