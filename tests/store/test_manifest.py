"""The journal: what was acknowledged is there, whatever happened since."""

import json
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ckpt_callbacks
from ckpt_callbacks import DirectoryInUse, Record, Status, StoreError
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ckpt_callbacks.__file__).parents[1])}


def record(id_, **facts):
    return Record(id_, f"{id_}.ckpt", **{"status": Status.VERIFIED, **facts})


def facts(manifest):
    return [manifest.records[id_].to_json() for id_ in sorted(manifest.records)]


def written(dirpath, records):
    manifest = Manifest(dirpath)
    for each in records:
        manifest.put(each)
    return manifest


def line_of(entry):
    payload = json.dumps(entry).encode()
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


@pytest.fixture
def no_flush(monkeypatch):
    """For tests with thousands of appends: a device would take most of their time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


# -- round trip ------------------------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    Record,
    id=st.integers(1, 9),
    file=st.text(min_size=1, max_size=12).filter(lambda name: name not in (".", "..") and not set(name) & set("/\0")),
    step=st.integers(0, 10**12),
    wall=st.floats(0, 1e10),
    metrics=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    scores=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    timings=st.dictionaries(st.sampled_from(["blocked", "written", "verified"]), st.floats(0, 1e6)),
    status=st.sampled_from(Status),
    parent=st.none() | st.integers(1, 9),
    tags=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    reasons=st.lists(st.text(max_size=20), max_size=2).map(tuple),
    metadata=st.dictionaries(st.text(max_size=5), plain, max_size=3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(appended=st.lists(records, min_size=1, max_size=5))
def test_what_was_put_is_read_again(no_flush, tmp_path, appended):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    manifest = written(tmp_path / "run", appended)
    again = Manifest.read(tmp_path / "run")
    newest = {each.id: each.to_json() for each in appended}
    assert facts(manifest) == facts(again) == [newest[id_] for id_ in sorted(newest)]
    assert again.next_id == max(newest) + 1
    assert again.problems == []


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
    Manifest(tmp_path).layout.journal.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        Manifest.read(tmp_path)


# -- damage ----------------------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_ignored_wherever_it_was_torn_and_later_appends_survive(no_flush, tmp_path):
    journal = written(tmp_path, [record(1), record(2)]).layout.journal
    whole = journal.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) - 1):
        journal.write_bytes(whole[:end])
        assert list(Manifest.read(tmp_path).records) == [1]
        manifest = Manifest.read(tmp_path)
        manifest.put(record(3))
        again = Manifest.read(tmp_path)
        assert list(again.records) == list(manifest.records) == [1, 3]
        assert again.problems == manifest.problems == []  # nobody was told that it was there, so nothing is lost


def test_a_line_that_only_lacks_its_newline_is_not_cut_off(tmp_path):
    journal = written(tmp_path, [record(1), record(2)]).layout.journal
    journal.write_bytes(journal.read_bytes()[:-1])
    Manifest.read(tmp_path).put(record(3))
    assert list(Manifest.read(tmp_path).records) == [1, 2, 3]


def test_a_damaged_newline_at_the_end_loses_nothing(tmp_path):
    journal = written(tmp_path, [record(1), record(2)]).layout.journal
    journal.write_bytes(journal.read_bytes()[:-1] + b"\x0b")
    Manifest.read(tmp_path).put(record(3))
    again = Manifest.read(tmp_path)
    assert list(again.records) == [1, 2, 3]
    assert len(again.problems) == 1


class Flipped:
    """A journal, to flip bits in its line from ``start`` to ``end``: at most that line is lost, and it is reported."""

    def __init__(self, journal, start, end):
        self.journal, self.whole = journal, journal.read_bytes()
        self.intact = self.facts(self.whole)
        self.without = self.facts(self.whole[:start] + self.whole[end:])

    def facts(self, data):
        self.journal.write_bytes(data)
        self.manifest = Manifest.read(self.journal.parents[1])
        return facts(self.manifest)

    def check(self, at, bit):
        damaged = bytearray(self.whole)
        damaged[at] ^= 1 << bit
        assert self.facts(damaged) in (self.without, self.intact), (at, bit)
        assert self.manifest.problems, (at, bit)
        assert all(problem.startswith(f"{self.journal}: line ") for problem in self.manifest.problems)


def test_any_flipped_bit_of_a_change_loses_at_most_that_change_and_is_reported(tmp_path):
    manifest = written(tmp_path, [record(1)])
    journal = manifest.layout.journal
    start = journal.stat().st_size
    manifest.change(1, pinned=True)
    end = journal.stat().st_size
    manifest.put(record(2))
    flipped = Flipped(journal, start, end)
    assert flipped.intact != flipped.without
    for at in range(start, end):
        for bit in range(8):
            flipped.check(at, bit)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), middle=records)
def test_any_flipped_bit_of_a_record_loses_at_most_that_record_and_is_reported(no_flush, tmp_path, data, middle):
    shutil.rmtree(tmp_path / ".ckpt", ignore_errors=True)
    manifest = written(tmp_path, [record(10)])
    journal = manifest.layout.journal
    start = journal.stat().st_size
    manifest.put(middle)
    end = journal.stat().st_size
    manifest.put(record(11))
    flipped = Flipped(journal, start, end)
    for at in data.draw(st.lists(st.integers(start, end - 1), min_size=1, max_size=20)):
        flipped.check(at, data.draw(st.integers(0, 7)))


def test_garbage_of_any_kind_is_reported_and_skipped(tmp_path):
    manifest = written(tmp_path, [record(1)])
    with manifest.layout.journal.open("ab") as file:
        file.write(b"\0" * 300 + b"\n" + b"\n" + b"00000000 \n" + b"\xff\xfe\r\n" + line_of(5) + line_of({"id": 1}))
    manifest.put(record(2))
    assert list(Manifest.read(tmp_path).records) == [1, 2]
    assert [problem.rsplit(": ")[-1] for problem in manifest.problems[:3]] == [
        "line 2 is damaged and was skipped", "line 4 is damaged and was skipped", "line 5 is damaged and was skipped",
    ]  # fmt: skip
    assert len(manifest.problems) == 4  # the number 5 is no entry; {"id": 1} is one that a newer version may know


def test_a_record_from_before_saves_were_timed_is_read(tmp_path):
    manifest = written(tmp_path, [record(1)])
    old = {name: value for name, value in record(2).to_json().items() if name != "timings"}
    with manifest.layout.journal.open("ab") as file:
        file.write(line_of({"record": old}))
    manifest.refresh()
    assert (manifest.records[2], manifest.problems) == (record(2), [])


def test_what_a_newer_version_added_is_ignored_and_what_it_changed_is_reported(tmp_path):
    manifest = written(tmp_path, [record(1)])
    manifest.start(Attempt("r", 1, None, 0.0))
    newer = [
        {"record": {**record(2).to_json(), "colour": "red"}},
        {"attempt": {"run": "r", "number": 2, "parent": None, "wall": 0.0, "facts": {}, "colour": "red"}},
        {"compacted": {"until": 7}},
        {"record": {**record(3).to_json(), "status": "archived"}},
        {"id": 1, "set": {"status": "archived"}},
    ]
    with manifest.layout.journal.open("ab") as file:
        file.write(b"".join(map(line_of, newer)))
    manifest.put(record(4))
    assert facts(manifest) == [record(1).to_json(), record(2).to_json(), record(4).to_json()]
    assert [attempt.number for attempt in manifest.attempts] == [1, 2]
    assert [problem.split(": ")[1].split(" was")[0] for problem in manifest.problems] == ["line 6", "line 7"]
    assert "newer" in manifest.problems[0]


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


# -- a journal that vanishes under a live training -------------------------------------------------------------------


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
def test_a_journal_that_vanished_is_written_anew(training, caplog, how):
    layout = training.layout
    if how == "deleted":
        layout.journal.unlink()
    elif how == "emptied":
        layout.journal.write_bytes(b"")
    else:
        shutil.rmtree(layout.private)
    (layout.dirpath / "1.ckpt").unlink()
    training.refresh()
    assert list(training.records) == [1, 2]  # known, as long as nobody knows better
    with caplog.at_level(logging.WARNING, "ckpt_callbacks"):
        training.put(record(3))
    again = Manifest.read(layout.dirpath)
    assert facts(again) == facts(training)
    assert again.attempts == training.attempts == [Attempt("r", 1, None, 0.0)]
    assert [r.id for r in again.live()] == [2, 3]
    assert again.records[1].error == "deleted by somebody else"
    assert "written anew" in caplog.text
    assert "1.ckpt" in caplog.text
    assert layout.training_lock.exists()
    training.change(3, pinned=True)
    assert Manifest.read(layout.dirpath).records[3].pinned


def test_a_run_that_vanished_goes_on_with_a_new_directory(training):
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


def test_who_does_not_train_does_not_bring_a_deleted_run_back(tmp_path):
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


def test_damage_to_what_was_read_does_not_stop_a_training(training):
    journal = training.layout.journal
    training.change(2, pinned=True)
    damaged = bytearray(journal.read_bytes())
    damaged[-5] ^= 1
    journal.write_bytes(damaged)
    training.put(record(3))
    assert [r.id for r in Manifest.read(training.layout.dirpath).live()] == [1, 2, 3]
    assert len(training.problems) == 1
