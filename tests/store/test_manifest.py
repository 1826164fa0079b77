"""Appends to the journal: what was acknowledged is read back, whatever happens later."""

import math
import os
import shutil
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks import Status, StoreError
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import facts, record, records, written
from tests.support.processes import ENVIRONMENT


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(appended=st.lists(records, min_size=1, max_size=5))
def test_what_was_put_is_read_again(no_flush, tmp_path, appended):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    manifest = written(tmp_path / "run", appended)
    again = Manifest.read(tmp_path / "run")
    newest = {each.id: each.to_json() for each in appended}
    assert facts(manifest) == facts(again) == [newest[id_] for id_ in sorted(newest)]
    assert again.next_id == max(newest) + 1
    assert again.problems == []
    existing = [id_ for id_ in sorted(newest) if again.records[id_].status.on_disk]
    assert [each.id for each in manifest.live()] == [each.id for each in again.live()] == existing
    assert all(each is again.records[each.id] for each in again.live())


def test_what_is_live_follows_each_change_of_any_writer(tmp_path):
    ours = written(tmp_path, [record(2, status=Status.WRITING), record(1), record(3)])
    theirs = Manifest.read(tmp_path)
    assert [each.id for each in ours.live()] == [1, 3]
    for change, live in ((Status.COMMITTED, [1, 2, 3]), (Status.FAILED, [1, 3]), (Status.VERIFIED, [1, 2, 3])):
        theirs.change(2, status=change)
        ours.refresh()
        assert [each.id for each in ours.live()] == [each.id for each in theirs.live()] == live
    theirs.change(1, tags=("release",))
    ours.change(3, status=Status.DELETED)
    assert [each.tags for each in ours.live()] == [("release",), ()]
    theirs.rewrite()
    ours.refresh()
    assert [each.id for each in ours.live()] == [each.id for each in theirs.live()] == [1, 2]


def test_non_finite_metrics_stay_what_they_are(tmp_path):
    written(tmp_path, [record(1, metrics={"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1})])
    metrics = Manifest.read(tmp_path).records[1].metrics
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"], metrics["d"]) == (math.inf, -math.inf, 0.1)


def test_a_change_touches_only_the_facts_that_it_names(tmp_path):
    ours = written(tmp_path, [record(1, metrics={"a": 1.0})])
    Manifest.read(tmp_path).change(1, tags=("release",), pinned=True)
    ours.change(1, status=Status.DELETED)
    assert facts(ours) == [
        record(1, metrics={"a": 1.0}, tags=("release",), pinned=True, status=Status.DELETED).to_json()
    ]


def test_attempts_are_read_in_their_order(tmp_path):
    manifest = Manifest(tmp_path)
    attempts = [Attempt("r", 1, None, 1.0, {"host": "a"}), Attempt("r", 2, 7, 2.0)]
    for attempt in attempts:
        manifest.start(attempt)
    assert Manifest.read(tmp_path).attempts == manifest.attempts == attempts


def test_no_journal_is_an_empty_manifest_and_nothing_is_created(tmp_path):
    manifest = Manifest.read(tmp_path / "run")
    assert (manifest.records, manifest.attempts, manifest.next_id) == ({}, [], 1)
    assert not (tmp_path / "run").exists()


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path):
    Manifest(tmp_path).layout.private.write_text("notes")
    with pytest.raises(StoreError, match="cannot be read"):
        Manifest.read(tmp_path)


# -- a full disk -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_disk_that_fills_up_while_appending_leaves_the_journal_as_it_was(tmp_path, monkeypatch, room):
    manifest = written(tmp_path, [record(1)])
    before = manifest.layout.journal.read_bytes()

    def write(descriptor, data, real=os.write, left=[room]):  # noqa: B006
        if not left[0]:
            raise OSError(28, "No space left on device")
        count = real(descriptor, bytes(data)[: left[0]])
        left[0] -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            manifest.put(record(2))
    assert manifest.layout.journal.read_bytes() == before
    assert list(manifest.records) == [1]
    assert manifest.next_id == 2
    manifest.put(record(3))
    assert list(Manifest.read(tmp_path).records) == [1, 3]
    assert manifest.problems == []


def test_what_was_not_flushed_was_not_appended(tmp_path, monkeypatch):
    manifest = written(tmp_path, [record(1)])

    def fsync(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="Input/output"):
            manifest.change(1, status=Status.DELETED)
    assert Manifest.read(tmp_path).records[1].status is Status.VERIFIED


def test_a_new_journal_and_its_folders_are_flushed(tmp_path, monkeypatch):
    flushed = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.add(os.readlink(f"/proc/self/fd/{descriptor}")))
    manifest = written(tmp_path / "runs" / "a", [record(1)])
    layout = manifest.layout
    assert flushed > {
        str(path) for path in (layout.journal, layout.private, layout.dirpath, tmp_path / "runs", tmp_path)
    }
    flushed.clear()
    manifest.put(record(2))
    assert flushed == {str(layout.journal)}


# -- several at once -------------------------------------------------------------------------------------------------

WRITER = """
import sys
from ckpt_callbacks import Record
from ckpt_callbacks.store.manifest import Manifest
dirpath, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
manifest = Manifest.read(dirpath)
for id_ in range(first, last):
    manifest.put(Record(id_, f"{id_}.ckpt", reasons=("x" * (id_ * 37 % 5000),)))
"""


def start_writer(dirpath, first, last):
    return subprocess.Popen([sys.executable, "-c", WRITER, dirpath, str(first), str(last)], env=ENVIRONMENT)


def test_two_processes_append_and_a_third_reads_and_nothing_is_lost(tmp_path):
    written(tmp_path, [record(1000)])
    writers = [start_writer(tmp_path, 1, 81), start_writer(tmp_path, 101, 181)]
    reader = Manifest.read(tmp_path)
    seen = 0
    while any(writer.poll() is None for writer in writers):
        reader.refresh()
        assert reader.problems == []
        assert len(reader.records) >= seen
        seen = len(reader.records)
    assert [writer.returncode for writer in writers] == [0, 0]
    reader.refresh()
    expected = {*range(1, 81), *range(101, 181), 1000}
    assert set(reader.records) == set(Manifest.read(tmp_path).records) == expected
    assert Manifest.read(tmp_path).problems == []


def test_threads_append_through_manifests_of_their_own_and_through_one(tmp_path):
    shared = Manifest(tmp_path)

    def append(manifest, first):
        for id_ in range(first, first + 20):
            manifest.put(record(id_))
            manifest.refresh()

    manifests = [shared, shared, Manifest(tmp_path), Manifest(tmp_path)]
    threads = [threading.Thread(target=append, args=(m, 100 * n)) for n, m in enumerate(manifests, start=1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {id_ for n in range(1, 5) for id_ in range(100 * n, 100 * n + 20)}
    for manifest in (*manifests, Manifest.read(tmp_path)):
        manifest.refresh()
        assert set(manifest.records) == expected
        assert manifest.problems == []
