"""Journals that vanish, or are replaced, while a training run appends to them."""

import logging
import math
import os
import shutil
import subprocess
import sys

import pytest

from ckpt_callbacks import DirectoryInUse, StoreError
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import facts, record, written
from tests.support.processes import ENVIRONMENT


@pytest.fixture
def training(tmp_path):
    """A manifest with two checkpoints, in a directory that this process trains in."""
    dirpath = tmp_path / "run"
    manifest = Manifest(dirpath)
    layout = manifest.layout
    layout.private.mkdir(parents=True)
    lock = TrainingLock(layout.training_lock, layout.owner, "Test")
    lock.acquire()
    manifest.start(Attempt("r", 1, None, 0.0))
    for id_ in (1, 2):
        (dirpath / f"{id_}.ckpt").write_bytes(b"x")
        manifest.put(record(id_, metrics={"a": math.nan}))
    yield manifest
    lock.release()


@pytest.mark.parametrize("how", ["deleted", "emptied", "folder deleted"])
def test_a_journal_that_vanished_is_written_again(training, caplog, how):
    layout = training.layout
    if how == "deleted":
        layout.journal.unlink()
    elif how == "emptied":
        layout.journal.write_bytes(b"")
    else:
        shutil.rmtree(layout.private)
    (layout.dirpath / "1.ckpt").unlink()
    training.refresh()
    assert list(training.records) == [1, 2]  # still known, until another process says otherwise
    with caplog.at_level(logging.WARNING, "ckpt_callbacks"):
        training.put(record(3))
    again = Manifest.read(layout.dirpath)
    assert facts(again) == facts(training)
    assert again.attempts == training.attempts == [Attempt("r", 1, None, 0.0)]
    assert [r.id for r in again.live()] == [2, 3]
    assert again.records[1].error == "deleted by another program"
    assert "rewrote it from memory" in caplog.text
    assert "1.ckpt" in caplog.text
    assert layout.training_lock.exists()
    training.change(3, pinned=True)
    assert Manifest.read(layout.dirpath).records[3].pinned


def test_a_run_whose_directory_vanished_continues_in_a_new_one(training):
    shutil.rmtree(training.layout.dirpath)
    training.put(record(3))
    again = Manifest.read(training.layout.dirpath)
    assert [r.id for r in again.live()] == [3]
    assert again.next_id == 4


def test_a_restored_journal_that_does_not_fit_is_tried_again(training, monkeypatch):
    shutil.rmtree(training.layout.private)

    def write(descriptor, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            training.put(record(3))
    training.put(record(3))
    assert [r.id for r in Manifest.read(training.layout.dirpath).live()] == [1, 2, 3]


def test_a_process_that_does_not_train_does_not_restore_a_deleted_run(tmp_path):
    manifest = written(tmp_path / "run", [record(1)])
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(StoreError, match="vanished"):
        manifest.change(1, pinned=True)
    assert not manifest.layout.journal.exists()


def test_a_directory_that_another_training_took_is_left_to_it(training):
    shutil.rmtree(training.layout.dirpath)
    code = """
import sys, time
from ckpt_callbacks.store.layout import Layout
from ckpt_callbacks.store.lock import TrainingLock
from pathlib import Path
layout = Layout(Path(sys.argv[1]))
layout.private.mkdir(parents=True)
lock = TrainingLock(layout.training_lock, layout.owner, "Other")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, training.layout.dirpath]
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DirectoryInUse, match=str(other.pid)):
            training.put(record(3))
        assert not training.layout.journal.exists()


def test_a_journal_of_another_run_in_its_place_is_an_error_and_left_alone(training):
    layout = training.layout
    layout.journal.unlink()
    other = Manifest(layout.dirpath)
    other.start(Attempt("other", 1, None, 5.0))
    for id_ in range(1, 9):
        other.put(record(id_, metadata={"other": True}))
    before = layout.journal.read_bytes()
    for use in (training.refresh, lambda: training.put(record(3))):
        with pytest.raises(StoreError, match="is not the manifest that this process read"):
            use()
    assert layout.journal.read_bytes() == before


def test_a_journal_that_was_cut_back_is_an_error(training):
    journal = training.layout.journal
    journal.write_bytes(journal.read_bytes()[:-200])
    with pytest.raises(StoreError, match="is not the manifest"):
        training.put(record(3))


def test_damage_to_what_was_read_does_not_stop_training(training):
    journal = training.layout.journal
    training.change(2, pinned=True)
    damaged = bytearray(journal.read_bytes())
    damaged[-5] ^= 1
    journal.write_bytes(damaged)
    training.put(record(3))
    assert [r.id for r in Manifest.read(training.layout.dirpath).live()] == [1, 2, 3]
    assert len(training.problems) == 1
