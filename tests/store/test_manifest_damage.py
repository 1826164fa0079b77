"""Damaged journals: at most the damaged entry is lost, and the damage is reported."""

import shutil

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import facts, line_of, record, records, written


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
        assert again.problems == manifest.problems == []  # it was never acknowledged, so nothing is lost


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


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), middle=records)
def test_any_flipped_bit_of_a_record_loses_at_most_that_record_and_is_reported(no_flush, tmp_path, data, middle):
    shutil.rmtree(tmp_path / ".run", ignore_errors=True)
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
