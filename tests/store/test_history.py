"""Records that move from the journal to the history: none is lost or counted twice, whoever reads or writes then."""

import contextlib
import errno
import json
import os
import stat
import sys
import threading

import pytest

from ckpt_callbacks import Status, StoreError
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import line_of, record
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing


def filled(dirpath, last=9):
    """Return a manifest whose last two records are live; the others were deleted."""
    manifest = Manifest(dirpath)
    manifest.start(Attempt("r", 1, None, 0.0))
    for id_ in range(1, last + 2):
        manifest.put(record(id_, run="r", status=Status.DELETED if id_ < last else Status.VERIFIED))
    return manifest


def compact(manifest):
    """Move every deleted record whose id is even."""
    manifest.compact(
        lambda: [r for r in manifest.records.values() if r.status is Status.DELETED and r.id % 2 == 0],
    )


def all_of(dirpath):
    return [(r.id, r.status.value) for r in all_records(Manifest.read(dirpath))]


def test_what_has_moved_is_no_longer_in_the_journal_and_nothing_is_lost(tmp_path):
    manifest = filled(tmp_path)
    before, size = all_of(tmp_path), manifest.layout.journal.stat().st_size
    compact(manifest)
    again = Manifest.read(tmp_path)
    assert sorted(manifest.records) == sorted(again.records) == [1, 3, 5, 7, 9, 10]
    assert [r.id for r in manifest.live()] == [r.id for r in again.live()] == [9, 10]
    assert all_of(tmp_path) == before and manifest.layout.journal.stat().st_size < size
    assert (again.next_id, again.attempts, again.problems) == (11, manifest.attempts, [])
    assert (again.history.moved.deleted, again.history.moved.failed) == (4, 0)
    assert again.recall(4).file == "4.ckpt" and again.recall(3).file == "3.ckpt" and again.recall(11) is None
    assert [r.id for r in again.history.search("file", ["2.ckpt", "6.ckpt", "3.ckpt"])] == [2, 6]
    compact(manifest)  # nothing is left to move
    assert all_of(tmp_path) == before


def test_a_record_comes_back_when_it_is_changed(tmp_path):
    manifest = filled(tmp_path)
    compact(manifest)
    assert manifest.change(4, status=Status.VERIFIED).status is Status.VERIFIED
    assert [r.id for r in Manifest.read(tmp_path).live()] == [4, 9, 10]
    assert manifest.amend(2, lambda now: {}).id == 2 and 2 not in manifest.records
    with pytest.raises(KeyError):
        manifest.change(99, pinned=True)


def test_other_processes_go_on_with_the_new_journal(tmp_path):
    ours, theirs, late = filled(tmp_path), Manifest.read(tmp_path), Manifest.read(tmp_path)
    compact(ours)
    theirs.change(10, pinned=True)
    ours.put(record(11, run="r"))
    late.refresh()
    assert [(r.id, r.pinned) for r in late.live()] == [(9, False), (10, True), (11, False)]
    assert sorted(late.records) == sorted(theirs.records | {11: None})
    with pytest.raises(StoreError, match="is not the manifest"):  # more is missing than has moved
        late.layout.journal.write_bytes(b"".join(late.layout.journal.read_bytes().splitlines(True)[:3]))
        late.refresh()


def test_versions_that_do_not_know_the_history_give_no_id_twice(tmp_path):
    manifest = filled(tmp_path, last=2)
    manifest.change(3, status=Status.DELETED)
    manifest.compact(lambda: [manifest.records[3]])
    lines = [json.loads(line[9:]) for line in manifest.layout.journal.read_bytes().splitlines()]
    assert lines[0]["id"] == 3 and lines[0]["set"] == {}
    # Such a version rewrites the journal without the line about the history.
    manifest.layout.journal.write_bytes(b"".join(line_of(entry) for entry in lines[1:]))
    again = Manifest.read(tmp_path)
    assert [r.id for r in all_records(again)] == [1, 2, 3]
    again.compact(lambda: [again.records[1]])
    assert all_of(tmp_path) == [(1, "deleted"), (2, "verified"), (3, "deleted")]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_rewrite_keeps_what_has_moved(tmp_path, damaged):
    manifest = filled(tmp_path)
    for id_ in (9, 10):
        manifest.change(id_, status=Status.DELETED)
    compact(manifest)
    before, journal = all_of(tmp_path), manifest.layout.journal
    moved = manifest.history.moved
    if damaged:  # the line that says what has moved
        journal.write_bytes(journal.read_bytes().replace(b"moved", b"m0ved", 1))
    manifest.change(1, pinned=True)  # its process still knows
    again = Manifest.read(tmp_path)
    again.rewrite()
    assert all_of(tmp_path) == before and Manifest.read(tmp_path).history.moved == manifest.history.moved == moved
    assert again.next_id == manifest.next_id == Manifest.read(tmp_path).next_id == 11


@pytest.mark.parametrize("line", [b"0badc0de {}\n", line_of({"unknown": 1})])
def test_nothing_moves_while_a_line_would_be_lost(tmp_path, line):
    manifest = filled(tmp_path)
    with open(manifest.layout.journal, "ab") as file:
        file.write(line)
    before = manifest.layout.journal.read_bytes()
    compact(manifest)
    assert manifest.layout.journal.read_bytes() == before and not manifest.layout.history.exists()


def test_the_new_journal_has_the_rights_of_the_old_one(tmp_path):
    manifest = filled(tmp_path)
    manifest.layout.journal.chmod(0o620)
    compact(manifest)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (manifest.layout.journal, manifest.layout.history)]
    assert modes == [0o620, 0o620]


def test_a_link_at_the_name_of_the_history_is_not_followed(tmp_path):
    manifest = filled(tmp_path / "run")
    (tmp_path / "stranger's").write_text("precious")
    manifest.layout.history.symlink_to(tmp_path / "stranger's")
    before = manifest.layout.journal.read_bytes()
    for use in (lambda: compact(manifest), lambda: all_records(manifest), lambda: manifest.recall(99)):
        with pytest.raises(StoreError, match="is a symbolic link; expected a regular file"):
            use()
    assert (tmp_path / "stranger's").read_text() == "precious"
    assert [r.id for r in Manifest.read(tmp_path / "run").live()] == [9, 10]
    assert before.splitlines() == manifest.layout.journal.read_bytes().splitlines()[: len(before.splitlines())]


def calls_of(folder):
    manifest = filled(folder / "run")
    return listing(folder / "run", lambda: compact(manifest))


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
        with contextlib.suppress(OSError), interposed(dirpath, fail(call.number, errno.EIO)):
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


def test_a_history_that_has_lost_its_end_is_used_as_far_as_it_goes(tmp_path):
    manifest = filled(tmp_path)
    compact(manifest)
    os.truncate(manifest.layout.history, manifest.layout.history.stat().st_size - 9)
    assert [id_ for id_, _ in all_of(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    manifest.put(record(12, run="r", status=Status.DELETED))
    compact(manifest)
    assert [id_ for id_, _ in all_of(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 9, 10, 12]


def without_moved_line(manifest):
    """Leave the line out that says what has moved, as a version does that does not know the history."""
    lines = manifest.layout.journal.read_bytes().splitlines(True)
    manifest.layout.journal.write_bytes(b"".join(line for line in lines if b'"moved"' not in line))


@pytest.mark.parametrize("rewritten", [False, True])
def test_a_torn_line_costs_no_record_when_the_history_is_counted_again(tmp_path, rewritten):
    manifest = filled(tmp_path)
    compact(manifest)
    with open(manifest.layout.history, "ab") as file:
        file.write(b'0badc0de {"record":{"id":12,"fi')  # a kill in the middle of an append
    manifest.put(record(12, run="r", status=Status.DELETED))
    without_moved_line(manifest)
    again = Manifest.read(tmp_path)
    if rewritten:
        again.rewrite()
    compact(again)
    assert 12 not in again.records and all_of(tmp_path)[-1] == (12, "deleted")
    assert len(manifest.layout.history.read_bytes().splitlines()) == 5


def test_counts_are_right_after_the_line_that_has_them_was_lost(tmp_path):
    manifest, late = filled(tmp_path), Manifest.read(tmp_path)
    compact(manifest)
    late.refresh()
    for id_, status in ((12, Status.DELETED), (14, Status.DELETED), (15, Status.VERIFIED)):
        late.put(record(id_, run="r", status=status))
    before = manifest.layout.journal.read_bytes()
    compact(Manifest.read(tmp_path))
    manifest.layout.journal.write_bytes(before)  # as if a kill had come before the new journal
    without_moved_line(manifest)
    again = Manifest.read(tmp_path)
    compact(again)
    assert (again.history.moved.deleted, again.history.moved.failed) == (6, 0)  # 12 and 14 are there twice
    late.refresh()
    assert sorted(late.records) == sorted(again.records) == [1, 3, 5, 7, 9, 10, 15]
    without_moved_line(again)
    recounted = Manifest.read(tmp_path)
    recounted.rewrite()
    assert recounted.history.moved == again.history.moved


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
