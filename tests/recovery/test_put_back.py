"""Checkpoints that were deleted, and that a user puts back under their old name."""

import shutil
import subprocess

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.recovery.deletions import note_finished
from ckpt_callbacks.run.embedded_state import embed_state
from ckpt_callbacks.store.manifest import Manifest
from tests.recovery.test_deletions import (
    NEWEST,
    WAYS,
    by_doctor,
    by_opening,
    copy,
    flip,
    put_back,
    record_of,
    save,
    train,
)
from tests.support.command import ckpt
from tests.support.training import new_run, start
from tests.system.faults.inject import in_child

NOTHING = "{}: nothing is wrong\n"


def entries(dirpath):
    return (dirpath / ".run" / "manifest.jsonl").read_bytes().splitlines()


def without_facts_of_this_version(dirpath):
    """Rewrite the journal as a version wrote it that never said that a deletion is complete."""
    manifest = Manifest.read(dirpath)
    lines = [line for line in entries(dirpath) if b'"set":{},"absent"' not in line]
    assert len(lines) == len(entries(dirpath)) - 1
    manifest.layout.journal.write_bytes(b"".join(line + b"\n" for line in lines))
    assert not any(record.absent for record in Manifest.read(dirpath).records.values())


def go_on(dirpath, epochs, kind="file"):
    """Resume from the newest checkpoint, and save at the end of each of these epochs."""
    run = new_run(dirpath, NEWEST, background=False)
    run.open()
    newest = next(run.view.verified_resumable())
    run.restore(embed_state(State(), newest.run, 1, newest=newest, saving=False, records={}))
    start(run, step=newest.step, epoch=newest.epoch)
    for epoch in epochs:
        save(run, epoch, kind=kind)
    run.close()


def check_kept(dirpath, record):
    """Check that a checkpoint counts, and that neither retention nor a repair deletes it."""
    again = Manifest.read(dirpath).records[record.id]
    assert again == record.replace(status=Status.VERIFIED, absent=False, pinned=True)
    assert record.path.exists()
    go_on(dirpath, (7, 8), kind="folder" if record.path.is_dir() else "file")
    assert ckpt("doctor", dirpath).stdout == NOTHING.format(dirpath)
    assert record.path.exists() and Manifest.read(dirpath).counts(record.id)


@WAYS
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_it_is_listed_again_and_pinned(tmp_path, way, kind):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 3, kind=kind)
    older = put_back(dirpath, copies, 1)
    assert way(dirpath) == str(record_of(dirpath, 3).path)
    check_kept(dirpath, older)
    assert not Manifest.read(dirpath).counts(record_of(dirpath, 2).id)


def by_cp(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


def by_tar(source, target):
    packed = subprocess.run(["tar", "-C", source.parent, "-cf-", source.name], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-C", target.parent, "-xf-"], input=packed, check=True)
    (target.parent / source.name).rename(target)


def by_rsync(source, target):
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    subprocess.run(["rsync", "-a", source, target], check=True)


@pytest.mark.parametrize("put", [by_cp, by_tar, by_rsync, shutil.move], ids=lambda put: put.__name__)
def test_it_may_come_from_anywhere(tmp_path, put):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older = record_of(dirpath, 1)
    put(copies[1], older.path)
    by_opening(dirpath)
    check_kept(dirpath, older)


def test_every_command_says_what_becomes_of_it(tmp_path):
    dirpath = tmp_path / "run"
    older = put_back(dirpath, train(dirpath, 2), 1)
    found = f"{older.path}: was deleted, and is intact now"
    assert f"Warning: {found}; run `ckpt doctor {dirpath}`" in ckpt("verify", dirpath).stderr
    assert ckpt("doctor", "--dry-run", dirpath).stdout == f"{found}; would be listed again and pinned\n"
    assert Manifest.read(dirpath).records[older.id] == older
    assert ckpt("doctor", dirpath).stdout == f"{found}; listed again and pinned\n"
    check_kept(dirpath, older)


def test_one_that_was_deleted_by_hand(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    newest = record_of(dirpath, 2)
    assert ckpt("rm", "--force", dirpath, "last").exit_code == 0
    put_back(dirpath, copies, 2)
    assert by_opening(dirpath) == str(newest.path)
    check_kept(dirpath, newest)


def test_one_whose_record_has_left_the_journal(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 3)
    manifest = Manifest.read(dirpath)
    manifest.compact(lambda: [manifest.records[record_of(dirpath, 1).id]])
    older = next(record for record in manifest.history.read() if record.epoch == 1)
    copy(copies[1], older.path)
    by_opening(dirpath)
    check_kept(dirpath, older)


def test_one_that_is_put_back_while_the_run_trains(tmp_path):
    dirpath = tmp_path / "run"
    run = new_run(dirpath, NEWEST, background=False)
    run.open()
    start(run)
    save(run, 1)
    kept = copy(run.view.last().path, tmp_path / "copy")
    save(run, 2)
    older = record_of(dirpath, 1)
    copy(kept, older.path)
    save(run, 3)
    run.close()
    assert older.path.exists()
    by_opening(dirpath)
    check_kept(dirpath, older.replace(absent=True))


@pytest.mark.parametrize("looked", [by_opening, by_doctor], ids=lambda way: way.__name__)
def test_a_journal_of_an_earlier_version_learns_which_deletions_are_complete(tmp_path, looked):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    without_facts_of_this_version(dirpath)
    looked(dirpath)
    older = put_back(dirpath, copies, 1)
    by_opening(dirpath)
    check_kept(dirpath, older)


def test_a_deletion_that_was_never_seen_complete_is_finished(tmp_path):
    """The process was killed after it had deleted the file, and before the next entry of the journal."""
    dirpath = tmp_path / "run"
    run = new_run(dirpath, NEWEST, background=False)

    def killed():
        run.open()
        start(run)
        save(run, 1)
        shutil.copyfile(run.view.last().path, tmp_path / "copy")
        save(run, 2)

    assert in_child(killed) == 0
    older = put_back(dirpath, {1: tmp_path / "copy"}, 1)
    assert not older.absent
    by_opening(dirpath)
    assert not older.path.exists() and not Manifest.read(dirpath).counts(older.id)


@WAYS
def test_other_bytes_under_its_name_are_left_alone(tmp_path, way):
    dirpath = tmp_path / "run"
    older = put_back(dirpath, train(dirpath, 2), 1)
    flip(older.path)
    for _ in range(2):
        way(dirpath)
        assert older.path.exists() and not Manifest.read(dirpath).counts(older.id)
    go_on(dirpath, (7, 8))
    assert older.path.exists() and not record_of(dirpath, 7).path.exists()


def test_it_can_be_deleted_again(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older = put_back(dirpath, copies, 1)
    by_opening(dirpath)
    assert ckpt("unpin", dirpath, older.file).exit_code == 0
    go_on(dirpath, (7,))
    assert not older.path.exists()
    put_back(dirpath, copies, 1)
    by_opening(dirpath)
    assert older.path.exists()


def test_an_interrupted_save_under_the_same_name_is_not_taken_for_it(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2)
    older, manifest = put_back(dirpath, copies, 1), Manifest.read(dirpath)
    manifest.put(older.replace(id=9, status=Status.WRITING, absent=False))
    by_opening(dirpath)
    again = Manifest.read(dirpath).records
    assert (again[9].status, again[older.id].status) == (Status.VERIFIED, Status.DELETED)


def test_no_entry_is_added_during_training_and_one_at_its_end(tmp_path):
    dirpath = tmp_path / "run"
    run = new_run(dirpath, NEWEST, background=False)
    run.open()
    start(run)
    save(run, 1)
    for epoch in (2, 3, 4):
        before = len(entries(dirpath))
        save(run, epoch)
        assert len(entries(dirpath)) - before == 4  # writing, committed, verified; and the other one is deleted
        absent = [record.epoch for record in Manifest.read(dirpath).records.values() if record.absent]
        assert absent == list(range(1, epoch - 1))
    run.close()
    assert len(entries(dirpath)) - before == 5 and record_of(dirpath, 3).absent
    for _ in range(2):
        by_opening(dirpath)
        run.close()
    assert len(entries(dirpath)) - before == 5


def test_a_folder_that_is_only_partly_deleted_is_not_complete(tmp_path):
    dirpath = tmp_path / "run"
    copies = train(dirpath, 2, kind="folder")
    older = Manifest.read(dirpath).change(record_of(dirpath, 1).id, absent=False)
    copy(copies[1], dirpath / ".run" / "staging" / f"{older.file}.deleted")
    manifest = Manifest.read(dirpath)
    note_finished(manifest)
    assert manifest.gone_files.unsaid(manifest.records) == []
    by_opening(dirpath)
    assert Manifest.read(dirpath).records[older.id].absent
