"""``ckpt mirror check``: each kind of damage is found, and only what nothing needs is deleted."""

import json
import os
import time
from pathlib import Path

import pytest

from ckpt_callbacks.cli import places
from ckpt_callbacks.mirrors.catalog import Catalog
from ckpt_callbacks.mirrors.check import Compared, Fault, compare
from ckpt_callbacks.mirrors.keys import CATALOG, entry_key
from ckpt_callbacks.mirrors.notes import Notes
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.survey import survey
from ckpt_callbacks.policy.retention import KeepAll
from ckpt_callbacks.remote.object_store import ObjectFacts
from tests.cli.command_line import ckpt
from tests.cli.mirrored import RecordedRun, mirrored, part_of, there
from tests.support.memory_store import MemoryStore

DAY = 86400.0
OLD = "checkpoints/0123456789abcdef/old.ckpt"


@pytest.fixture
def run(tmp_path):
    return RecordedRun(tmp_path / "run", losses=(3.0, 1.0, 2.0))


@pytest.fixture
def store(run, tmp_path):
    return mirrored(run, tmp_path / "mirror")


def files(store):
    return {path.relative_to(store.url).as_posix() for path in Path(store.url).rglob("*") if path.is_file()}


def place(store, key, data=b"bytes", age=2 * DAY):
    """Put a file into the folder of a mirror, as if it were written long ago."""
    path = Path(store.url) / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)
    return path


def findings(store, *more):
    """Return the exit code, the kinds of what was found with their keys, and the summary."""
    code, out, _err = ckpt("mirror", "check", store.url, "--json", *more)
    *found, summary = map(json.loads, out.splitlines())
    return code, {(one["kind"], one["key"]) for one in found if one["wrong"]}, summary


def test_an_intact_mirror_has_no_problem(store):
    code, out, err = ckpt("mirror", "check", store.url)
    assert (code, err) == (0, "")
    assert out == f"{store.url}: 3 checkpoints, 300 bytes: 0 compared by checksum, 3 by size: nothing is wrong\n"
    code, found, summary = findings(store, "--read-data-subset", "100%")
    assert (code, found) == (0, set()) and (summary["by_digest"], summary["by_size"]) == (3, 3)


def key_of(store, id_):
    return part_of(store, id_).relative_to(store.url).as_posix()


def test_a_lost_object_is_found(store):
    part_of(store, 2).unlink()
    assert findings(store)[:2] == (1, {("missing", key_of(store, 2))})
    _code, out, _ = ckpt("mirror", "check", store.url)
    assert f"missing: {store.url}/{key_of(store, 2)}: 2.ckpt cannot be restored" in out and ": 1 problem\n" in out


def test_an_object_of_another_size_is_found(store):
    part_of(store, 2).write_bytes(b"short")
    assert findings(store)[:2] == (1, {("wrong size", key_of(store, 2))})


def test_other_bytes_of_the_same_size_are_found_by_reading(store):
    part_of(store, 2).write_bytes(b"0" * 100)
    assert findings(store)[:2] == (0, set())  # a folder knows no checksums
    assert findings(store, "--read-data-subset", "100%")[:2] == (1, {("wrong digest", key_of(store, 2))})


def test_a_folder_with_many_files_is_read_as_one_checkpoint(tmp_path):
    from ckpt_callbacks.record import Record, Status
    from ckpt_callbacks.store.digest import digest

    run = RecordedRun(tmp_path / "run")
    path = run.manifest.layout.dirpath / "sharded.ckpt"
    for name in ("a/1", "a-2", "b"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode() * 50)
    found, size = digest(path)
    run.manifest.put(Record(1, path.name, size=size, digest=found, status=Status.VERIFIED, run="run"))
    store = mirrored(run, tmp_path / "mirror")
    assert findings(store, "--read-data-subset", "100%")[:2] == (0, set())
    (victim,) = (key for key in files(store) if key.endswith("a-2"))
    (Path(store.url) / victim).write_bytes(b"0" * 150)
    assert findings(store, "--read-data-subset", "100%")[0] == 1


def test_a_lost_entry_and_a_lost_catalog_are_found(store):
    (Path(store.url) / entry_key(2)).unlink()
    assert findings(store)[:2] == (1, {("missing", entry_key(2))})
    (Path(store.url) / CATALOG).unlink()
    code, found, summary = findings(store)
    assert code == 1 and ("missing", CATALOG) in found and summary["checkpoints"] == 2


@pytest.mark.parametrize("share", ["34%", "100 %", "100"])
def test_a_share_of_the_checkpoints_is_read(store, share):
    expected = 1 if share == "34%" else 3
    assert findings(store, "--read-data-subset", share)[2]["by_digest"] == expected


@pytest.mark.parametrize("share", ["0", "-1%", "101%", "some", "nan"])
def test_a_share_that_is_none_is_refused(store, share):
    code, _, err = ckpt("mirror", "check", store.url, "--read-data-subset", share)
    assert code == 2 and "expected a share of the checkpoints, such as 5%" in err


class Summing(MemoryStore):
    """A store that keeps checksums, and says them only of single objects."""

    def _checksum(self, facts):
        import zlib

        data = self.objects[facts.key][0]
        return ObjectFacts(facts.key, facts.size, facts.version, f"crc32:{zlib.crc32(data):08x}")

    def stat(self, key):
        facts = super().stat(key)
        return None if facts is None else self._checksum(facts)


def test_checksums_of_the_store_are_compared_without_a_download(run, monkeypatch):
    store = Summing()
    run.mirror(store, keep=KeepAll())._synchronise()
    catalog, _ = read_catalog(store)
    keys = [part.key for entry in catalog.entries for part in entry.parts]
    assert all(part.checksum.startswith("crc32:") for entry in catalog.entries for part in entry.parts)
    data, version = store.objects[keys[0]]
    store.objects[keys[0]] = bytes([data[0] ^ 1]) + data[1:], version
    store.requests.clear()
    compared = Compared()
    (finding,) = compare(store, survey(store), compared)
    assert (finding.kind, finding.key, compared.by_checksum, compared.by_size) == (Fault.CHECKSUM, keys[0], 3, 0)
    assert not [key for name, key in store.requests if name == "read" and key in keys]
    monkeypatch.setattr(places, "open_store", lambda url, options: store)
    code, out, _ = ckpt("mirror", "check", "s3://bucket/run")
    assert code == 1 and "wrong checksum: " in out


# -- what is left over -------------------------------------------------------------------------------------------------


def test_an_orphan_is_found_and_deleted(store):
    before = files(store)
    place(store, OLD)
    assert findings(store)[:2] == (1, {("orphan", OLD)})
    code, out, err = ckpt("mirror", "check", store.url, "--clean")
    assert (code, err) == (0, "") and f"orphan: {store.url}/{OLD}: 5 bytes that no entry names; deleted\n" in out
    assert {name for name in files(store) if not name.startswith((".", "mirror/clock"))} == before - {
        ".ckpt_callbacks.lock"
    }


def test_what_is_young_stays_and_is_no_problem(store):
    place(store, OLD, age=3600)
    code, out, _ = ckpt("mirror", "check", store.url, "--clean")
    assert code == 0 and "stays, because an upload may still need it" in out and OLD in files(store)
    assert ckpt("mirror", "check", store.url, "--clean", "--older-than", "30 min")[0] == 0 and OLD not in files(store)


def test_an_unfinished_upload_is_found_and_deleted(store):
    hidden = "checkpoints/0123456789abcdef/.old.ckpt." + "a" * 32 + ".ckpt-part"
    place(store, hidden)
    assert findings(store)[:2] == (1, {("unfinished", OLD)})
    assert ckpt("mirror", "check", store.url, "--clean")[0] == 0 and hidden not in files(store)


def test_an_upload_that_this_directory_can_continue_stays(run, store):
    hidden = "checkpoints/0123456789abcdef/.old.ckpt." + "a" * 32 + ".ckpt-part"
    place(store, hidden)
    place(store, "checkpoints/0123456789abcdef/another-shard")
    notes = Notes(run.manifest.layout.private, store.url)
    notes.note_upload(OLD, {"upload": "a" * 32})
    code, _out, _ = ckpt("mirror", "check", run.manifest.layout.dirpath, "--clean", "--older-than", "0")
    assert code == 0 and {hidden, "checkpoints/0123456789abcdef/another-shard"} <= files(store)
    notes.note_upload(OLD, {})
    ckpt("mirror", "check", run.manifest.layout.dirpath, "--clean", "--older-than", "0")
    assert not any("0123456789abcdef" in name for name in files(store))


def test_an_object_of_a_checkpoint_whose_upload_goes_on_stays(store):
    place(store, "checkpoints/0123456789abcdef/shard/1")
    place(store, "checkpoints/0123456789abcdef/shard/.2." + "a" * 32 + ".ckpt-part", age=60)
    assert ckpt("mirror", "check", store.url, "--clean")[0] == 0
    assert "checkpoints/0123456789abcdef/shard/1" in files(store)


def test_the_entry_of_a_writer_that_lost_its_right_is_found(store):
    entry = read_catalog(store)[0].entry_of(3)
    stray = type(entry)(9, entry.record.replace(id=9, file="9.ckpt"), (type(entry.parts[0])(OLD, 5),), "another")
    place(store, entry_key(9), stray.to_bytes(), age=60)
    place(store, OLD)
    _code, out, _ = ckpt("mirror", "check", store.url, "--clean")
    assert "does not count: " in out and "9.ckpt: its writer had lost the right to write" in out
    assert {OLD, entry_key(9)} <= files(store)  # what an entry names stays as long as the entry does
    place(store, entry_key(9), stray.to_bytes())
    assert findings(store)[:2] == (1, {("does not count", entry_key(9)), ("orphan", OLD)})
    assert ckpt("mirror", "check", store.url, "--clean")[0] == 0 and not {OLD, entry_key(9)} & files(store)
    assert there(store) == [1, 2, 3]


def test_the_rest_of_an_interrupted_deletion_is_found(store):
    path = Path(store.url) / CATALOG
    catalog = Catalog.from_bytes(path.read_bytes(), "")
    path.write_bytes(catalog.without({2}).to_bytes())
    code, found, _ = findings(store, "--older-than", "0")
    (gone,) = catalog.entry_of(catalog.entries[1].record.id).parts
    assert code == 1 and found == {("does not count", entry_key(2)), ("orphan", gone.key)}


def test_an_entry_that_cannot_be_read_keeps_all_bytes(store):
    place(store, entry_key(9), b"{}")
    place(store, OLD)
    code, out, err = ckpt("mirror", "check", store.url, "--clean")
    assert code == 1 and "unreadable: " in out and OLD in files(store)
    assert "an entry cannot be read, so it is not known what it names, and no bytes are deleted" in err


@pytest.mark.parametrize(
    "key",
    ["notes.txt", "checkpoints/readme", "checkpoints/0123/x", "mirror/records/a.json", "mirror/mine", "mirror/x/y"],
)
def test_files_of_somebody_else_are_neither_named_nor_touched(store, key):
    place(store, key)
    code, out, _ = ckpt("mirror", "check", store.url, "--clean", "--older-than", "0")
    assert code == 0 and key in files(store) and key not in out


def test_a_wrong_clock_here_deletes_nothing_too_early(store, monkeypatch):
    place(store, OLD, age=60)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * DAY)
    ckpt("mirror", "check", store.url, "--clean")
    assert OLD in files(store)


def test_all_mirrors_of_a_run_directory_are_checked(tmp_path):
    run = RecordedRun(tmp_path / "run", mirrors=[str(tmp_path / "a"), str(tmp_path / "b")])
    run.save()
    stores = [mirrored(run, tmp_path / name) for name in "ab"]
    part_of(stores[1], 1).unlink()
    code, out, _ = ckpt("mirror", "check", tmp_path / "run")
    assert code == 1 and [line.rpartition(": ")[2] for line in out.splitlines()][::2] == [
        "nothing is wrong",
        "1 problem",
    ]


def test_a_mirror_that_cannot_be_read_hides_no_other(tmp_path):
    run = RecordedRun(tmp_path / "run", mirrors=[str(tmp_path / "no" / "disk"), str(tmp_path / "b")])
    run.save()
    mirrored(run, tmp_path / "b")
    code, out, err = ckpt("mirror", "check", tmp_path / "run")
    assert code == 1 and f"Warning: {tmp_path}/no/disk: there is no folder {tmp_path}/no" in err
    assert out.startswith(f"{tmp_path}/b: 1 checkpoint") and "nothing is wrong" in out


def test_a_run_without_mirrors_says_so(run):
    code, _, err = ckpt("mirror", "check", run.manifest.layout.dirpath)
    assert code == 2 and "has no mirror; expected a run directory with mirrors, or the URL of a mirror" in err


def test_a_place_that_does_not_exist_may_have_been_meant_as_either(tmp_path):
    code, out, err = ckpt("mirror", "check", tmp_path / "no")
    assert (code, out) == (2, "") and err == (
        f"Error: {tmp_path}/no: does not exist; expected a run directory, or the folder or URL of a mirror\n"
    )
