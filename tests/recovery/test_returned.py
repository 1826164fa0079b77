"""Checkpoints that were written off, and whose file comes back."""

import shutil

import pytest

from ckpt_callbacks import Every, KeepAll, Policy, Status
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.run.embedded_state import embed_state
from ckpt_callbacks.store.manifest import Manifest
from tests.recovery.test_deletions import (
    WAYS,
    by_doctor,
    by_opening,
    copy,
    flip,
    record_of,
    remove,
    save,
    train,
    truncate,
)
from tests.support.command import ckpt
from tests.support.training import new_run, start

ALL = Policy(Every(epochs=1), KeepAll())
NOTHING = "{}: nothing is wrong\n"


@pytest.fixture(params=["file", "folder"])
def trained(request, tmp_path):
    copies = train(tmp_path / "run", 3, policy=ALL, kind=request.param)
    return tmp_path / "run", copies


def take_away(dirpath, epoch, way=by_doctor):
    """Move a checkpoint elsewhere, and have it written off; return its record from before."""
    record = record_of(dirpath, epoch)
    shutil.move(record.path, dirpath.parent / f"aside-{epoch}")
    way(dirpath)
    assert record_of(dirpath, epoch).status is Status.FAILED
    return record


def bring_back(dirpath, record):
    shutil.move(dirpath.parent / f"aside-{record.epoch}", record.path)


def go_on(dirpath, parent, epochs):
    """Resume from a checkpoint, and save at the end of each of these epochs."""
    run = new_run(dirpath, ALL, background=False)
    run.open()
    run.restore(embed_state(State(), parent.run, 1, newest=parent, saving=False, records={}))
    start(run, step=parent.step, epoch=parent.epoch)
    for epoch in epochs:
        save(run, epoch, kind="folder" if parent.path.is_dir() else "file")
    run.close()


@WAYS
@pytest.mark.parametrize("by", [by_doctor, by_opening], ids=lambda way: way.__name__)
def test_a_missing_checkpoint_counts_again_once_it_is_back(trained, way, by):
    dirpath, _ = trained
    newest = take_away(dirpath, 3, by)
    assert way(dirpath) == str(record_of(dirpath, 2).path)
    bring_back(dirpath, newest)
    assert way(dirpath) == str(newest.path)
    again = record_of(dirpath, 3)
    assert again == newest
    assert ckpt("doctor", dirpath).stdout == NOTHING.format(dirpath)


def test_a_damaged_checkpoint_counts_again_once_its_bytes_are_back(trained):
    dirpath, copies = trained
    newest = record_of(dirpath, 3)
    flip(newest.path)
    by_doctor(dirpath)
    remove(newest.path)
    copy(copies[3], newest.path)
    assert by_opening(dirpath) == str(record_of(dirpath, 2).path), "a start reads no damaged file again"
    verified = ckpt("verify", dirpath)
    assert verified.exit_code == 1 and "bad, as recorded" not in verified.stdout
    assert f"Warning: {newest.path}: was damaged, and is intact now; run `ckpt doctor {dirpath}`" in verified.stderr
    looked = ckpt("doctor", dirpath, "--dry-run").stdout
    assert f"{newest.path}: was damaged, and is intact now; would be listed again\n" in looked
    assert ckpt("doctor", dirpath).stdout == looked.replace("would be ", "")
    assert record_of(dirpath, 3).status is Status.VERIFIED
    assert ckpt("verify", dirpath).exit_code == 0
    assert ckpt("doctor", dirpath).stdout == NOTHING.format(dirpath)


def test_a_checkpoint_that_comes_back_under_another_name_is_listed_under_it(trained):
    dirpath, _ = trained
    newest = take_away(dirpath, 3)
    shutil.move(dirpath.parent / "aside-3", dirpath / "good.raw")
    assert by_doctor(dirpath) == str(dirpath / "good.raw")
    again = record_of(dirpath, 3)
    assert (again.status, again.error, again.pinned, again.digest) == (Status.VERIFIED, None, True, newest.digest)
    assert (dirpath / "last.raw").readlink().name == "good.raw"
    assert ckpt("doctor", dirpath).stdout == NOTHING.format(dirpath)


def remove_and_link(path):
    """Put a link to another checkpoint in its place."""
    remove(path)
    path.symlink_to(path.with_name(path.name.replace("3", "2")))


@WAYS
@pytest.mark.parametrize("harm", [flip, truncate, remove_and_link], ids=lambda harm: harm.__name__)
def test_other_bytes_under_its_name_are_no_checkpoint(trained, way, harm):
    dirpath, _ = trained
    newest = take_away(dirpath, 3)
    bring_back(dirpath, newest)
    harm(newest.path)
    assert newest.path.exists() and way(dirpath) == str(record_of(dirpath, 2).path)
    assert record_of(dirpath, 3).status is Status.FAILED


@WAYS
def test_a_checkpoint_from_which_another_branch_led_away_meanwhile_is_superseded(trained, way):
    dirpath, _ = trained
    newest = take_away(dirpath, 3)
    go_on(dirpath, record_of(dirpath, 2), [4])
    bring_back(dirpath, newest)
    assert way(dirpath) == str(record_of(dirpath, 4).path)
    again = record_of(dirpath, 3)
    assert again.status is Status.VERIFIED and again.superseded
    assert not any(record_of(dirpath, epoch).superseded for epoch in (1, 2, 4))


@WAYS
def test_a_branch_that_has_saved_nothing_supersedes_nothing(trained, way):
    dirpath, _ = trained
    newest = take_away(dirpath, 3)
    go_on(dirpath, record_of(dirpath, 2), [])
    bring_back(dirpath, newest)
    assert way(dirpath) == str(newest.path)


@WAYS
def test_both_branches_come_back_in_either_order(trained, way):
    dirpath, _ = trained
    older = take_away(dirpath, 3)
    go_on(dirpath, record_of(dirpath, 2), [4])
    newer = take_away(dirpath, 4)
    bring_back(dirpath, older)
    assert way(dirpath) == str(older.path)
    bring_back(dirpath, newer)
    assert way(dirpath) == str(newer.path)
    assert record_of(dirpath, 3).superseded


@WAYS
def test_a_checkpoint_whose_record_has_left_the_journal_counts_again(trained, way):
    dirpath, _ = trained
    lost = take_away(dirpath, 2)
    manifest = Manifest.read(dirpath)
    manifest.compact(lambda: [manifest.records[lost.id]])
    assert lost.id not in Manifest.read(dirpath).records
    bring_back(dirpath, lost)
    assert way(dirpath) == str(record_of(dirpath, 3).path)
    assert record_of(dirpath, 2) == lost


def test_a_save_that_failed_is_not_listed_although_its_file_has_the_bytes(trained):
    """A framework could not open it, for example."""
    dirpath, _ = trained
    newest = record_of(dirpath, 3)
    Manifest.read(dirpath).change(newest.id, status=Status.FAILED, error=f"{newest.path}: missing keys", timings={})
    assert by_doctor(dirpath) == by_opening(dirpath) == str(record_of(dirpath, 2).path)
