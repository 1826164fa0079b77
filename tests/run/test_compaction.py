"""Long runs: the journal holds only what still counts, and nothing that follows from it changes when the rest moves."""

import errno
import logging
import os
import shutil

import pytest

from ckpt_callbacks import EventKind, Every, KeepBest, KeepLast, Metric, Policy, Status, StoreError
from ckpt_callbacks.policy.state import Pending, State
from ckpt_callbacks.record import Attempt, Record
from ckpt_callbacks.recovery.lineage import wrongly_marked
from ckpt_callbacks.recovery.settled import settled
from ckpt_callbacks.run.embedded_state import embed_state, restore_state
from ckpt_callbacks.run.ended_fit import EndedFit
from ckpt_callbacks.run.view import RunView
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.training import compacted_often, new_run, report, start
from tests.system.faults.inject import interposed
from tests.system.faults.writer import FILE, VALUES, Stage, read

VAL = Metric("val", mode="min")
POLICY = Policy(Every(epochs=1), KeepLast(2) | KeepBest(1, VAL))


def train(dirpath, epochs, *, back_to=None, most=4):
    """Train from the newest checkpoint, or from a file, and return the run, which has ended."""
    run = compacted_often(new_run(dirpath, POLICY, suffix=".bin", background=False), most)
    run.open()
    newest, begin = next(run.view.verified_resumable(), None), 0
    if back_to is not None:
        run.restore(read(back_to)[0])
    elif newest is not None:
        run.restore(read(newest.path)[0])
        begin = newest.epoch
    start(run, step=begin * 10, epoch=begin)
    for epoch in range(begin + 1, begin + epochs + 1):
        number = epoch % 7 + 1
        facts = {"step": epoch * 10, "epoch": epoch, "metrics": {"val": VALUES[number]}, "complete": True}
        report(run, EventKind.EPOCH_END, stage=lambda embedded, n=number: Stage(n, embedded, FILE), **facts)
    run.close()
    return run


def test_the_journal_stays_short_and_log_shows_everything(tmp_path):
    train(tmp_path, 10)
    size = (tmp_path / ".run" / "manifest.jsonl").stat().st_size
    run = train(tmp_path, 30)
    manifest = Manifest.read(tmp_path)
    assert (tmp_path / ".run" / "manifest.jsonl").stat().st_size < 1.5 * size
    assert len(manifest.records) < 14 and len(run.directory.manifest.records) == len(manifest.records)
    assert [r.id for r in all_records(manifest)] == list(range(1, 41))
    shown = [ckpt("log", tmp_path).stdout, ckpt("ls", "--all", tmp_path).stdout]
    assert [len(text.splitlines()) for text in shown] == [41, 41]
    assert len(ckpt("ls", tmp_path).stdout.splitlines()) == 1 + len(manifest.live())
    assert ckpt("show", tmp_path, "2").stdout.startswith("id: 2\n")
    assert "its status is deleted" in ckpt("rm", tmp_path, "2").stderr
    for command in (("doctor", "--dry-run"), ("verify",)):
        assert ckpt(*command, tmp_path).exit_code == 0


def test_a_directory_of_an_earlier_version_is_compacted_when_it_is_opened(tmp_path):
    train(tmp_path, 20, most=1000)
    before = all_records(Manifest.read(tmp_path))
    assert len(before) == len(Manifest.read(tmp_path).records) == 20
    compacted_often(new_run(tmp_path, POLICY, suffix=".bin")).directory.repair_if_idle()
    assert len(Manifest.read(tmp_path).records) < 6 and all_records(Manifest.read(tmp_path)) == before


def test_a_resume_from_a_copy_of_a_deleted_checkpoint_knows_its_line(tmp_path):
    train(tmp_path / "run", 5)
    copy = shutil.copy(Manifest.read(tmp_path / "run").live()[1].path, tmp_path / "run" / "copy.bin")
    shutil.copy(copy, tmp_path / "kept.bin")
    record = read(tmp_path / "kept.bin")[0]["record"]
    train(tmp_path / "run", 30)
    assert record not in Manifest.read(tmp_path / "run").records
    run = train(tmp_path / "run", 2, back_to=tmp_path / "kept.bin")
    again = Manifest.read(tmp_path / "run")
    assert again.attempts[-1].parent == record and again.records[record].status is Status.DELETED
    assert [r.superseded for r in run.view.records()][-2:] == [False, False]
    assert not again.records[record].superseded
    assert "copy.bin" not in {r.file for r in all_records(again)}, "it repeats a record that has moved"
    assert (tmp_path / "run" / "copy.bin").exists()


@pytest.mark.parametrize("successors", ["are there", "are missing"])
def test_a_copy_of_a_live_run_whose_journal_is_newer(tmp_path, successors):
    """The checkpoints were copied first; those that replaced them may be missing, and their records have moved.

    Nothing distinguishes the copies from checkpoints that were put back, so they stay.
    """
    train(tmp_path / "run", 3)
    shutil.copytree(tmp_path / "run", tmp_path / "copy", symlinks=True)
    old = {r.file for r in Manifest.read(tmp_path / "copy").live()}
    train(tmp_path / "run", 30)
    shutil.rmtree(tmp_path / "copy" / ".run")
    shutil.copytree(tmp_path / "run" / ".run", tmp_path / "copy" / ".run")
    new = Manifest.read(tmp_path / "copy")
    gone = {r.file for r in all_records(new)} - {r.file for r in new.records.values()}
    assert old & gone
    if successors == "are there":
        for record in Manifest.read(tmp_path / "run").live():
            shutil.copy(record.path, tmp_path / "copy")
    new_run(tmp_path / "copy", POLICY, suffix=".bin").directory.repair_if_idle()
    live = {r.file for r in Manifest.read(tmp_path / "copy").live()}
    there = {path.name for path in (tmp_path / "copy").glob("model*.bin")}
    assert there >= live and there & gone == old & gone == live & gone
    assert all(r.pinned == (r.file in gone) for r in Manifest.read(tmp_path / "copy").live())


def test_what_is_still_needed_stays(tmp_path):
    run = train(tmp_path, 3)
    manifest = run.directory.manifest
    first = manifest.records[1]
    others = {11: {"status": Status.FAILED}, 12: {"error": "deleted by another program"}, 13: {}, 14: {}}
    for id_, facts in others.items():
        manifest.put(first.replace(id=id_, file=f"{id_}.bin", **{"status": Status.DELETED, **facts}))
    for id_ in range(20, 26):
        manifest.put(first.replace(id=id_, file=f"{id_}.bin", status=Status.FAILED))
    (tmp_path / "13.bin").touch()
    os.symlink("14.bin", tmp_path / "last.bin.new")
    os.symlink("14.bin", tmp_path / "final.bin")
    moving = {record.id for record in settled(manifest)}
    assert moving == {11, *range(20, 23)} | ({1} - {max(r.id for r in manifest.records.values() if r.id < 4)})


def test_what_is_known_of_earlier_fits_stays_the_same(tmp_path):
    """Which fit has saved up to where, and with which end, is asked of deleted records as well."""
    manifest = Manifest(tmp_path)
    for number, parent in ((1, None), (2, 3), (3, 5)):
        manifest.start(Attempt("r", number, parent, 0.0, {"fit": number}))
        for id_ in range(3 * number - 2, 3 * number + 1):
            facts = {"step": id_, "run": "r", "attempt": number, "fit": number, "final": id_ % 3 == 0}
            status = Status.DELETED if id_ < 9 else Status.VERIFIED
            manifest.put(Record(id_, f"{id_}.bin", status=status, superseded=id_ == 6, **facts))
    (tmp_path / "9.bin").touch()

    def known():
        records, view = Manifest.read(tmp_path).records.values(), RunView(Manifest.read(tmp_path), None)
        newest = {fit: max(r.id for r in records if r.fit == fit and not r.superseded) for fit in (1, 2, 3)}
        ends = {fit: [r.id for r in records if r.fit == fit and r.final] for fit in (1, 2, 3)}
        return newest, ends, [EndedFit(view, fit).records() for fit in (1, 2, 3)], wrongly_marked(manifest, "r", 3)

    before = known()
    manifest.compact(lambda: settled(manifest))
    assert known() == before and sorted(manifest.records) == [2, 3, 5, 6, 8, 9]
    assert Manifest.read(tmp_path).attempts == manifest.attempts


def test_a_failure_is_logged_once_and_training_goes_on(tmp_path, caplog):
    def refuse(call):
        if call.name == "replace" and call.path.endswith("manifest.new"):
            raise OSError(1, "Operation not permitted")

    with interposed(tmp_path, refuse), caplog.at_level(logging.WARNING, "ckpt_callbacks"):
        run = train(tmp_path, 40)
    assert [m for m in caplog.messages if "could not be compacted" in m] == [
        f"{tmp_path}/.run/manifest.jsonl: could not be compacted: Operation not permitted; nothing is lost, but it "
        "grows with each save"
    ]
    assert len(run.view.records()) in (2, 3) and len(Manifest.read(tmp_path).records) == 40
    assert sorted(path.name for path in (tmp_path / ".run").glob("manifest*")) == ["manifest.jsonl", "manifest.lock"]
    train(tmp_path, 1)
    assert len(Manifest.read(tmp_path).records) < 12
    assert [r.id for r in all_records(Manifest.read(tmp_path))] == list(range(1, 42))


def test_a_history_that_cannot_be_read_is_named_when_a_run_resumes(tmp_path):
    manifest = train(tmp_path, 30).directory.manifest
    assert 4 not in manifest.records
    pending = State(pending={1: Pending((), {}, 0.0)})  # its record has moved since this checkpoint was written
    embedded = embed_state(pending, "r", 1, newest=None, saving=False, records={1: 4})

    def refuse(call):
        if call.path.endswith("history.jsonl"):
            raise OSError(errno.EIO, "Input/output error")

    with interposed(tmp_path, refuse), pytest.raises(StoreError, match=r"history\.jsonl: .*Input/output error; make"):
        restore_state(embedded, POLICY, manifest, tmp_path)
