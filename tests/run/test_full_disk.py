"""Starts of training on a full disk. A limit on the size of files stands for it: the journal cannot grow."""

import json
import logging
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest

from ckpt_callbacks import EventKind, Every, KeepAll, KeepLast, Policy, Status
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.run.embedded_state import embed_state
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.content import NumberedContent
from tests.support.processes import ENVIRONMENT
from tests.support.training import new_run, report, start

POLICY = Policy(Every(epochs=1), KeepLast(5))
LINE = "nothing can be saved: File too large; training goes on, and saves begin once there is space"


@contextmanager
def full_disk(dirpath, room=0):
    """Let no file become larger than the journal, which may grow by ``room`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((dirpath / ".run" / "manifest.jsonl").stat().st_size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def opened(dirpath, policy=POLICY, **given):
    run = new_run(dirpath, policy, background=False, **given)
    run.open()
    return run


def save(run, *epochs):
    for epoch in epochs:
        report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True, stage=NumberedContent(epoch))


@pytest.fixture
def dirpath(tmp_path):
    run = opened(tmp_path / "run")
    start(run)
    save(run, 1, 2)
    run.close()
    return tmp_path / "run"


def resume(run, parent):
    run.restore(embed_state(State(), parent.run, 1, newest=parent, saving=False, records={}))
    start(run, step=parent.step, epoch=parent.epoch)


@pytest.mark.parametrize("resumed", [True, False], ids=["a resume", "a new run"])
def test_training_begins_and_saves_once_there_is_space(dirpath, caplog, resumed):
    parent = Manifest.read(dirpath).live()[-1]
    with full_disk(dirpath):
        run = opened(dirpath)
        resume(run, parent) if resumed else start(run)
        assert [line for line in caplog.messages if LINE in line] == [f"{dirpath}: {LINE}"]
        save(run, 3)
    assert len(Manifest.read(dirpath).live()) == 2
    save(run, 4)
    run.close()
    manifest = Manifest.read(dirpath)
    newest = manifest.live()[-1]
    assert (newest.epoch, newest.attempt, manifest.problems) == (4, 2 if resumed else 1, [])
    assert manifest.attempts[-1].parent == (parent.id if resumed else None)
    assert manifest.newest_run == newest.run and (newest.run == parent.run) == resumed
    assert [r.superseded for r in manifest.live()] == ([False] * 3 if resumed else [True, True, False])
    assert [r.epoch for r in manifest.records.values() if r.status is Status.FAILED] == [3]
    assert ckpt("doctor", dirpath).stdout == f"{dirpath}: nothing is wrong\n"


def test_a_run_without_any_space_leaves_the_directory_as_it_was(dirpath):
    before = (dirpath / ".run" / "manifest.jsonl").read_bytes()
    with full_disk(dirpath):
        run = opened(dirpath)
        start(run)
        save(run, 1, 2)
        run.close()
    assert (dirpath / ".run" / "manifest.jsonl").read_bytes() == before
    again = opened(dirpath)
    assert next(again.view.verified_resumable()).epoch == 2
    again.close()


def test_a_second_fit_begins_where_the_first_one_found_no_space(dirpath):
    with full_disk(dirpath):
        run = opened(dirpath)
        start(run)
        run.close()
    run.open()
    start(run)
    save(run, 3)
    run.close()
    manifest = Manifest.read(dirpath)
    assert len(manifest.attempts) == 2 and manifest.live()[-1].run == manifest.attempts[-1].run


@pytest.mark.parametrize("ends_full", [True, False])
def test_no_failed_save_is_recorded_before_the_start_that_it_belongs_to(dirpath, ends_full):
    with full_disk(dirpath, room=4096):  # enough for a failed save, and not for this start
        run = opened(dirpath, described={"rules": "x" * 8192})
        start(run)
        save(run, 1, 2)
        if ends_full:
            run.close()
    if not ends_full:
        save(run, 3)
        run.close()
    lines = (dirpath / ".run" / "manifest.jsonl").read_text().splitlines()
    journal = [json.loads(line.partition(" ")[2]) for line in lines]  # after its checksum
    facts = [entry.get("attempt") or entry.get("record", {}) for entry in journal]
    new = [one.get("epoch", "start") for one in facts if "number" in one or one.get("status") == "failed"]
    assert new == (["start"] if ends_full else ["start", "start", 1, 2])
    assert ckpt("doctor", dirpath).stdout == f"{dirpath}: nothing is wrong\n"


def test_a_failed_save_that_is_recorded_late_takes_no_id_of_another_run(dirpath):
    run = opened(dirpath)
    start(run)
    with full_disk(dirpath):
        save(run, 3)
    run.close()
    other = opened(dirpath)
    start(other)
    save(other, 4, 5)
    other.close()
    run.open()
    start(run)
    save(run, 6)
    run.close()
    assert [r.epoch for r in Manifest.read(dirpath).live()][-3:] == [4, 5, 6]


def test_a_missing_checkpoint_that_cannot_be_written_off_is_ignored(dirpath):
    newest = Manifest.read(dirpath).live()[-1]
    newest.path.unlink()
    with full_disk(dirpath):
        run = opened(dirpath, Policy(Every(epochs=1), KeepAll()))
        assert next(run.view.verified_resumable()).epoch == 1
        resume(run, run.view.last())
        run.close()
    run.open()
    assert Manifest.read(dirpath).records[newest.id].status is Status.FAILED
    run.close()


def test_the_new_policy_is_followed_once_it_is_recorded(dirpath, caplog):
    caplog.set_level(logging.INFO)
    with full_disk(dirpath):
        run = opened(dirpath, Policy(Every(epochs=1), KeepLast(1)))
        resume(run, Manifest.read(dirpath).live()[-1])
    save(run, 3)
    run.close()
    assert [record.epoch for record in Manifest.read(dirpath).live()] == [3]


def test_a_directory_that_cannot_even_be_created_is_refused_with_what_to_do(tmp_path):
    """A file system without any free block; the mount needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = "size=4k,nr_inodes=2"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "full", disk], capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        (disk / "filler").write_bytes(b"x")
        program = f"from tests.run.test_full_disk import opened; from pathlib import Path; opened(Path('{disk}/run'))"
        done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    last = done.stderr.splitlines()[-1]
    assert "cannot be written: No space left on device" in last
    assert last.endswith("; free some space, or choose another directory for checkpoints")
