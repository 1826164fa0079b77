"""Damaged lines in the history file: the doctor reports and removes them, and all others stay."""

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import record
from tests.support.command import ckpt
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing

COUNT = 6  # records in the history


@pytest.fixture
def manifest(tmp_path):
    return filled(tmp_path / "run")


def filled(dirpath):
    manifest = Manifest(dirpath)
    manifest.start(Attempt("r", 1, None, 0.0))
    for id_ in range(1, COUNT + 2):
        manifest.put(record(id_, run="r", status=Status.DELETED))
    manifest.compact(lambda: [r for r in manifest.records.values() if r.id <= COUNT])
    return manifest


def flip(manifest, line, place):
    """Flip a bit in a line of the history, at a place that may be negative; -1 is its newline."""
    lines = manifest.layout.history.read_bytes().splitlines(keepends=True)
    changed = bytearray(lines[line])
    changed[place] ^= 2
    lines[line] = bytes(changed)
    manifest.layout.history.write_bytes(b"".join(lines))


def ids(dirpath):
    return [r.id for r in all_records(Manifest.read(dirpath))]


@pytest.mark.parametrize("line", [0, 2, COUNT - 1])
@pytest.mark.parametrize(("place", "is_lost"), [(2, True), (40, True), (-3, True), (-1, False)])
def test_the_doctor_reports_and_mends_it(manifest, line, place, is_lost):
    dirpath, history = manifest.layout.dirpath, manifest.layout.history
    flip(manifest, line, place)
    damaged, size = history.read_bytes(), history.stat().st_size
    problem = f"{history}: 1 line is damaged; "
    verified = ckpt("verify", dirpath)
    assert verified.exit_code == 1
    assert verified.stdout.endswith(f"\n1 line of the history damaged; run `ckpt doctor {dirpath}`\n")
    looked = ckpt("doctor", "--dry-run", dirpath)
    assert looked.exit_code == 1
    assert f"{problem}would be rewritten from the intact ones, next to a copy of the old file\n" in looked.stdout
    assert history.read_bytes() == damaged
    assert f"{problem}rewritten from the intact ones" in ckpt("doctor", dirpath).stdout
    assert history.with_name("history.jsonl.damaged").read_bytes() == damaged
    assert ckpt("doctor", dirpath).stdout == f"{dirpath}: nothing is wrong\n"
    assert ckpt("verify", dirpath).exit_code == 0 and history.stat().st_size == size
    assert ids(dirpath) == [id_ for id_ in range(1, COUNT + 2) if not is_lost or id_ != line + 1]
    manifest = Manifest.read(dirpath)
    manifest.put(record(COUNT + 2, run="r", status=Status.DELETED))
    manifest.compact(lambda: [manifest.records[COUNT + 1]])
    assert ids(dirpath)[-2:] == [COUNT + 1, COUNT + 2]
    assert ckpt("doctor", dirpath).stdout == f"{dirpath}: nothing is wrong\n"


@pytest.mark.slow
def test_a_kill_or_an_error_at_every_call_leaves_the_old_or_the_mended_file(tmp_path):
    def damaged(name):
        manifest = filled(tmp_path / name)
        flip(manifest, 1, 40)
        return manifest

    first = damaged("all")
    calls = [call for call in listing(first.layout.dirpath, first.history.mend) if call.changing]
    assert len(calls) > 3
    for call in calls:
        for before in (kill_before(call.number), fail(call.number, 5)):
            manifest = damaged(f"{call.number}{before.__qualname__}")
            dirpath = manifest.layout.dirpath

            def mend(manifest=manifest, dirpath=dirpath, before=before):
                with interposed(dirpath, before):
                    manifest.history.mend()

            assert in_child(mend) != 0
            assert ids(dirpath) == [1, 3, 4, 5, 6, 7]
            assert ckpt("doctor", dirpath).exit_code == 0
            assert ckpt("doctor", dirpath).stdout == f"{dirpath}: nothing is wrong\n"
            assert ids(dirpath) == [1, 3, 4, 5, 6, 7]


def test_a_history_that_cannot_be_read_does_not_stop_the_doctor(manifest):
    dirpath, history = manifest.layout.dirpath, manifest.layout.history

    def refuse(call):
        if call.path.endswith("history.jsonl") and call.name == "open":
            raise OSError(5, "Input/output error")

    with interposed(dirpath, refuse):
        said = ckpt("doctor", dirpath)
    assert said.exit_code == 0 and f"{history}: cannot be read: Input/output error; left unchanged" in said.stdout


def test_a_history_that_has_lost_its_end_is_reported_once(manifest):
    dirpath, history = manifest.layout.dirpath, manifest.layout.history
    history.write_bytes(history.read_bytes()[:-20])
    assert f"{history}: 1 line is damaged; rewritten" in ckpt("doctor", dirpath).stdout
    assert ckpt("doctor", dirpath).stdout == f"{dirpath}: nothing is wrong\n"
    assert ids(dirpath) == [*range(1, COUNT), COUNT + 1]
