"""Records on the way to the history: kills, errors, other threads and other processes at any moment of it."""

import contextlib
import errno
import os
import sys
import threading

import pytest

from ckpt_callbacks import Status, StoreError
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.manifest import Manifest
from tests.store.histories import all_of, compact, filled
from tests.store.journals import record
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing


def calls_of(folder):
    manifest = filled(folder / "run")
    return listing(folder / "run", lambda: compact(manifest))


@pytest.mark.slow
def test_a_kill_at_every_call_leaves_the_old_or_the_new_journal(tmp_path):
    whole = None
    changing = [call for call in calls_of(tmp_path / "all") if call.changing]
    for number, call in enumerate(changing, start=1):
        for torn in (False, True) if call.torn is not None else (False,):
            dirpath = tmp_path / f"{number}{torn}"
            manifest = filled(dirpath)
            whole = whole or all_of(dirpath)

            def work(dirpath=dirpath, manifest=manifest, call=call, torn=torn):
                with interposed(dirpath, kill_before(call.number, torn)):
                    compact(manifest)

            assert in_child(work) == 9
            assert sorted(Manifest.read(dirpath).records) in ([*range(1, 11)], [1, 3, 5, 7, 9, 10])
            assert all_of(dirpath) == whole
            again = Manifest.read(dirpath)
            compact(again)
            assert all_of(dirpath) == whole and sorted(again.records) == [1, 3, 5, 7, 9, 10]
            assert len(again.layout.history.read_bytes().splitlines()) == 4  # none of them twice


def noted(dirpath):
    """Return a manifest that knows of two complete deletions, one of them of a record that moves."""
    manifest = filled(dirpath)
    manifest.gone_files.note([3, 4])
    return manifest


def absent(dirpath):
    return [record.id for record in Manifest.read(dirpath).records.values() if record.absent]


def test_what_is_known_to_be_gone_is_said_whatever_call_of_a_compaction_fails(tmp_path):
    compact(noted(tmp_path / "whole"))
    assert absent(tmp_path / "whole") == [3]
    for call in calls_of(tmp_path / "all"):
        manifest = noted(dirpath := tmp_path / str(call.number))
        with contextlib.suppress(OSError, StoreError), interposed(dirpath, fail(call.number, errno.EIO)):
            compact(manifest)
        manifest.say_gone()
        assert absent(dirpath) in ([3], [3, 4])
        compact(manifest)
        assert absent(dirpath) == [3] and manifest.history.newest([4])[4].absent


def test_what_is_known_to_be_gone_is_said_once(tmp_path):
    manifest = noted(tmp_path)
    before = manifest.layout.journal.read_bytes().count(b"\n")
    theirs = Manifest.read(tmp_path)
    manifest.change(9, pinned=True)  # says it, too
    for _ in range(2):
        manifest.say_gone()
    theirs.gone_files.note([3])
    theirs.say_gone()
    assert manifest.layout.journal.read_bytes().count(b"\n") == before + 1, "another writer has read it"
    assert absent(tmp_path) == [3, 4]
    manifest.change(3, status=Status.VERIFIED)
    manifest.change(3, status=Status.DELETED)
    assert absent(tmp_path) == [4], "it was deleted again, perhaps not completely"


@pytest.mark.parametrize("error", [errno.EIO, *(pytest.param(e, marks=pytest.mark.slow) for e in
                                                (errno.ENOSPC, errno.EPERM, errno.EINVAL, errno.EROFS))])  # fmt: skip
def test_an_error_at_every_call_loses_nothing_and_the_next_append_counts(tmp_path, error):
    for call in calls_of(tmp_path / "all"):
        dirpath = tmp_path / str(call.number)
        manifest = filled(dirpath)
        whole = all_of(dirpath)
        try:
            with interposed(dirpath, fail(call.number, error)):
                compact(manifest)
        except OSError as raised:
            assert raised.errno == error
        except StoreError as raised:
            assert not call.changing and os.strerror(error) in str(raised)
        assert all_of(dirpath) == whole == [(r.id, r.status.value) for r in all_records(manifest)]
        manifest.put(record(11, run="r"))
        assert Manifest.read(dirpath).records[11] == manifest.records[11]
        compact(manifest)
        assert sorted(Manifest.read(dirpath).records) == [1, 3, 5, 7, 9, 10, 11]
        assert all_of(dirpath)[:-1] == whole
        assert len(manifest.layout.history.read_bytes().splitlines()) == 4
        assert not list(manifest.layout.private.glob("*.new"))


def test_readers_and_writers_at_the_same_moment_see_every_record_once(no_flush, tmp_path):
    trainer, ended, seen = filled(tmp_path), threading.Event(), []

    def read():
        mine = Manifest.read(tmp_path)
        while not ended.is_set():
            mine.refresh()
            for ids in ([r.id for r in all_records(Manifest.read(tmp_path))], [r.id for r in all_records(mine)]):
                seen.append(ids == list(range(1, len(ids) + 1)))

    def tag():
        mine = Manifest.read(tmp_path)
        for number in range(60):
            mine.change(9, tags=(f"t{number}",))

    threads = [threading.Thread(target=work) for work in (read, read, tag)]
    for thread in threads:
        thread.start()
    for id_ in range(11, 91):
        trainer.put(record(id_, run="r", status=Status.DELETED))
        compact(trainer)
    ended.set()
    for thread in threads:
        thread.join()
    assert seen and all(seen)
    assert Manifest.read(tmp_path).records[9].tags == ("t59",)
    assert os.path.getsize(trainer.layout.journal) < os.path.getsize(trainer.layout.history) * 2


def at_each_line(function, step, work):
    """Call ``step`` before each line of a function that ``work`` runs, as another thread could."""

    def trace(frame, event, arg):
        if frame.f_code is not function.__code__:
            return None
        if event in ("line", "return"):
            step()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work()
    finally:
        sys.settrace(before)


def test_a_thread_finds_a_record_at_every_moment_at_which_another_one_moves_it(tmp_path):
    manifest, seen = filled(tmp_path), []

    def look():
        seen.append((manifest.recall(4) is not None, [r.id for r in all_records(manifest)] == [*range(1, 11)]))

    at_each_line(Manifest._read_again, look, lambda: compact(manifest))
    assert 4 not in manifest.records and len(seen) > 8 and set(seen) == {(True, True)}


def test_all_records_has_each_one_whenever_another_thread_moves_some(tmp_path):
    manifest = filled(tmp_path)
    for number in range(12):
        manifest.put(record(20 + 2 * number, run="r", status=Status.DELETED))
        expected, steps = [id_ for id_, _ in all_of(tmp_path)], iter(range(12))

        def move(steps=steps, number=number):
            if next(steps, None) == number:
                compact(manifest)

        assert [r.id for r in at_each_line(all_records, move, lambda: all_records(manifest))] == expected
