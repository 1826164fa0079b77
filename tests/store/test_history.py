"""Records that move from the journal to the history: none is lost or counted twice, whoever reads or writes then."""

import json
import os
import stat

import pytest

from ckpt_callbacks import Status, StoreError
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.manifest import Manifest
from tests.store.histories import all_of, compact, filled
from tests.store.journals import line_of, record


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
