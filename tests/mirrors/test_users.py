"""The notes about runs of other directories that have continued from a checkpoint in a mirror."""

import logging
import os

import pytest

from ckpt_callbacks.mirrors.keys import USERS, used_id
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.users import note_use
from ckpt_callbacks.policy.retention import KeepLast
from ckpt_callbacks.remote.folder_store import FolderStore
from ckpt_callbacks.run.given_checkpoint import given_checkpoint
from ckpt_callbacks.run.view import RunView
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import SmallRun


@pytest.fixture
def mirrored(tmp_path):
    """Return a run, its mirror that is a folder, and the path of its first checkpoint there."""
    run, folder = SmallRun(tmp_path / "run"), tmp_path / "mirror"
    record = run.save(3.0)
    store = FolderStore(str(folder))
    run.mirror(store, keep=KeepLast(1))._synchronise()
    catalog, _ = read_catalog(store)
    return run, store, folder / catalog.entry_of(record.id).parts[0].key


def users(store):
    return [used_id(one.key) for one in store.list(USERS)]


def test_what_another_run_continues_from_stays_in_the_mirror(mirrored, tmp_path):
    run, store, path = mirrored
    other = RunView(Manifest(tmp_path / "other"), None)
    assert given_checkpoint(other, path) == path
    assert given_checkpoint(other, path) == path and users(store) == [1]  # one note, however often it is resumed
    for loss in (2.0, 1.0):
        run.save(loss)
        run.mirror(store, keep=KeepLast(1))._synchronise()
    assert path.exists()
    catalog, _ = read_catalog(store)
    assert [entry.record.id for entry in catalog.entries] == [1, 3]


def test_without_a_note_it_goes(mirrored):
    run, store, path = mirrored
    for loss in (2.0, 1.0):
        run.save(loss)
        run.mirror(store, keep=KeepLast(1))._synchronise()
    assert not path.exists()


def test_files_elsewhere_get_no_note(mirrored, tmp_path):
    run, store, path = mirrored
    for other in (run.records()[0].path, tmp_path / "nothing.ckpt", path.parent / "stray.ckpt"):
        note_use(other, tmp_path / "other")
    assert users(store) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_mirror_that_cannot_be_written_gets_one_line(mirrored, tmp_path, caplog):
    _, _, path = mirrored
    folder = path.parents[2]
    folder.chmod(0o500)
    try:
        note_use(path, tmp_path / "other")
    finally:
        folder.chmod(0o700)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "may be deleted there while this run needs it" in line
