"""The way of checkpoints from a mirror back into a run directory."""

import logging
import os
import shutil
import subprocess

import pytest

from ckpt_callbacks.errors import MirrorError, MirrorUnreachable, ResumeError
from ckpt_callbacks.mirrors.catalog import Catalog, Entry, Part
from ckpt_callbacks.mirrors.keys import CATALOG
from ckpt_callbacks.mirrors.ranges import RANGE
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.restoring import bring_back, download, find, is_ahead, pull
from ckpt_callbacks.policy.retention import KeepAll, KeepBest, KeepLast
from ckpt_callbacks.record import Record, Status
from ckpt_callbacks.recovery.lineage import supersede
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import LOSS, SmallRun
from tests.support.memory_store import Failing, MemoryStore


def mirrored(run, url="memory://a"):
    """Return a store with all checkpoints of a run."""
    store = MemoryStore(url=url)
    run.mirror(store, keep=KeepAll())._synchronise()
    return store


def damage(store, record, data=None):
    """Change the bytes of a checkpoint in a store."""
    catalog, _ = read_catalog(store)
    (part,) = catalog.entry_of(record.id).parts
    whole, version = store.objects[part.key]
    store.objects[part.key] = (bytes([whole[0] ^ 1]) + whole[1:] if data is None else data), version


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path / "run")


@pytest.fixture
def empty(tmp_path):
    return Manifest(tmp_path / "empty")


def test_the_newest_and_the_best_come_back(run, empty):
    records = [run.save(loss) for loss in (3.0, 1.0, 2.0)]
    store = mirrored(run)
    found = bring_back(find([store]), empty, LOSS)
    assert found.id == records[2].id and [record.id for record in empty.live()] == [2, 3]
    assert all(digest(record.path) == (record.digest, record.size) for record in empty.live())
    assert [(a.run, a.number) for a in empty.attempts] == [("run", 1)]
    assert empty.next_id == 4 and not list(empty.layout.staging.iterdir())


def test_a_large_one_comes_back_in_ranges(run, empty):
    record = run.save(size=2 * RANGE + 5)
    store = mirrored(run)
    store.requests.clear()
    assert digest(bring_back(find([store]), empty, None).path)[0] == record.digest
    assert sum(name == "read" for name, key in store.requests if "checkpoints/" in key) == 3


@pytest.mark.parametrize("data", [None, b"", b"short", b"x" * 101])
def test_a_damaged_one_is_skipped_with_one_line(run, empty, caplog, data):
    older, newer = run.save(), run.save()
    store = mirrored(run)
    damage(store, newer, data)
    assert bring_back(find([store]), empty, None).id == older.id
    assert [line.startswith(f"memory://a: {newer.file} is skipped: ") for line in lines(caplog)] == [True, False]
    assert not list(empty.layout.staging.iterdir())


def test_if_all_are_damaged_nothing_begins_from_scratch(run, empty):
    records = [run.save(), run.save()]
    store = mirrored(run)
    for record in records:
        damage(store, record)
    with pytest.raises(ResumeError, match="memory://a: all of its checkpoints are damaged or gone"):
        bring_back(find([store]), empty, LOSS)
    assert empty.live() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_a_full_disk_here_is_not_taken_for_damage_there(run, tmp_path):
    run.save(size=50_000)
    run.save(size=3_000_000)
    store, small = mirrored(run), tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no file system can be mounted")
    try:
        manifest = Manifest(small / "run")
        with pytest.raises(ResumeError, match=r"2\.ckpt cannot be brought back: .*No space left on device"):
            bring_back(find([store]), manifest, LOSS)
        assert manifest.live() == [] and not list(manifest.layout.staging.iterdir())
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_lost_one_is_skipped_too(run, empty, caplog):
    older, newer = run.save(), run.save()
    store = mirrored(run)
    catalog, _ = read_catalog(store)
    del store.objects[catalog.entry_of(newer.id).parts[0].key]
    assert bring_back(find([store]), empty, None).id == older.id
    assert "is gone, although the catalog lists it" in lines(caplog)[0]


def test_what_is_not_resumable_is_not_resumed_from(run, empty):
    run.save(resumable=False)
    run.save(resumable=False, contents="weights")
    assert bring_back(find([mirrored(run)]), empty, LOSS) is None
    assert empty.live() == []


def test_the_newest_wins_and_of_equals_the_nearest(run, empty, tmp_path):
    run.save()
    near = mirrored(run, "memory://near")
    newest = run.save()
    far = mirrored(run, "memory://far")
    assert bring_back(find([near, far]), empty, None).id == newest.id
    again = mirrored(run, "memory://near")
    far.requests.clear()
    bring_back(find([again, far]), Manifest(tmp_path / "again"), None)
    assert not any("checkpoints/" in key for _, key in far.requests)


def test_a_damaged_one_comes_from_another_mirror(run, empty):
    record = run.save()
    near, far = mirrored(run, "memory://near"), mirrored(run, "memory://far")
    damage(near, record)
    assert bring_back(find([near, far]), empty, None).id == record.id


def test_one_mirror_that_does_not_answer_is_passed_over(run, empty, caplog):
    record = run.save()
    dead, store = MemoryStore(url="memory://dead"), mirrored(run)
    dead.fails = Failing(1, "before", MirrorUnreachable("memory://dead: does not answer"))
    assert bring_back(find([dead, store]), empty, None).id == record.id
    assert lines(caplog)[0] == "memory://dead: does not answer; the other mirrors are asked"


def test_if_none_answers_it_is_not_known_whether_there_is_a_run():
    dead = MemoryStore()
    dead.fails = Failing(1, "before", MirrorUnreachable("memory://a: does not answer"))
    with pytest.raises(ResumeError, match="does not answer; so it is not known whether there is a run to resume"):
        find([dead])


def test_an_empty_mirror_says_nothing_about_one_that_does_not_answer():
    dead = MemoryStore(url="memory://dead")
    dead.fails = Failing(1, "before", MirrorUnreachable("memory://dead: does not answer"))
    with pytest.raises(ResumeError, match="it is not known whether there is a run to resume"):
        find([MemoryStore(), dead])


def test_a_store_that_fails_in_mid_download_does_not_make_an_older_one_the_newest(run, empty):
    run.save(), run.save()
    store = mirrored(run)
    found = find([store])
    store.fails = Failing(1, "before", MirrorUnreachable("memory://a: does not answer"))
    with pytest.raises(ResumeError, match=r"memory://a: 2\.ckpt cannot be brought back: memory://a: does not answer"):
        bring_back(found, empty, None)
    assert empty.live() == []
    assert bring_back(found, empty, None).id == 2


def test_a_store_that_fails_in_mid_download_is_replaced_by_another_mirror(run, empty):
    record = run.save()
    near, far = mirrored(run, "memory://near"), mirrored(run, "memory://far")
    found = find([near, far])
    near.fails = Failing(1, "before", MirrorUnreachable("memory://near: does not answer"))
    assert bring_back(found, empty, None).id == record.id


def test_weights_alone_get_a_line(run, empty, caplog):
    run.save(resumable=False, contents="weights")
    assert bring_back(find([mirrored(run)]), empty, None) is None
    assert "memory://a: holds only checkpoints that a run cannot be resumed from" in lines(caplog)[0]


def test_a_run_that_was_continued_elsewhere_is_ahead(run, tmp_path):
    run.save()
    store = mirrored(run)
    assert not is_ahead(find([store])[0].catalog, run.manifest)
    shutil.copytree(run.manifest.layout.dirpath, tmp_path / "copy")
    elsewhere = SmallRun(tmp_path / "copy", parent=1)
    newest = elsewhere.save()
    elsewhere.mirror(store, keep=KeepAll())._synchronise()
    (found,) = find([store])
    assert is_ahead(found.catalog, run.manifest)
    assert bring_back([found], run.manifest, None).id == newest.id
    assert not is_ahead(found.catalog, run.manifest)
    run.begin(parent=1)  # both have gone on: neither is ahead
    run.save()
    assert not is_ahead(found.catalog, run.manifest)


def test_a_mirror_of_another_framework_is_refused(run):
    run.save()
    with pytest.raises(ResumeError, match="memory://a: holds checkpoints of lightning; expected those of keras"):
        find([mirrored(run)], "keras")


def test_an_empty_place_holds_nothing():
    assert find([MemoryStore()]) == []


def test_a_newer_format_is_one_line():
    store = MemoryStore()
    store.put(CATALOG, b'{"format": 99}')
    with pytest.raises(ResumeError, match="install a newer ckpt-callbacks"):
        find([store])


def test_another_checkpoint_with_the_same_id_stays(run, tmp_path):
    run.save()
    store = mirrored(run)
    other = SmallRun(tmp_path / "other", run="other")
    theirs = other.save()
    (found,) = find([store])
    with pytest.raises(MirrorError, match=r"has the id 1, as has 1\.ckpt at memory://a, which is another checkpoint"):
        pull(found.store, found.catalog.entries[0], found.catalog, other.manifest)
    assert digest(theirs.path)[0] == theirs.digest


def test_what_is_there_already_is_not_downloaded_again(run):
    record = run.save()
    store = mirrored(run)
    (found,) = find([store])
    store.requests.clear()
    assert pull(store, found.catalog.entries[0], found.catalog, run.manifest) == run.manifest.records[record.id]
    assert store.requests == []


def test_a_folder_comes_back_as_a_folder(run, empty):
    folder = run.manifest.layout.dirpath / "sharded.ckpt"
    (folder / "inner").mkdir(parents=True)
    for name in ("a", "inner/b c"):
        (folder / name).write_bytes(name.encode() * 99)
    found, size = digest(folder)
    record = run.manifest.put(
        Record(run.manifest.next_id, folder.name, digest=found, size=size, status=Status.VERIFIED, run="run")
    )
    store = mirrored(run)
    assert digest(bring_back(find([store]), empty, None).path) == (record.digest, size)


@pytest.mark.parametrize("inside", ["../outside", "a/../../outside", "/tmp/outside"])
def test_nothing_is_written_outside_the_folder(tmp_path, inside):
    store = MemoryStore()
    store.put("checkpoints/x", b"bytes")
    entry = Entry(1, Record(1, "folder.ckpt", digest="x"), (Part("checkpoints/x", 5, inside),), "w")
    with pytest.raises(Exception, match="leads out of the folder"):
        download(store, entry, tmp_path / "folder.ckpt")
    assert list(tmp_path.rglob("outside")) == []


def test_a_name_that_is_taken_gets_a_version(run, empty):
    run.save()
    store = mirrored(run)
    empty.layout.dirpath.mkdir()
    (empty.layout.dirpath / "1.ckpt").write_bytes(b"somebody else's")
    assert bring_back(find([store]), empty, None).file == "1-v1.ckpt"
    assert (empty.layout.dirpath / "1.ckpt").read_bytes() == b"somebody else's"


@pytest.mark.parametrize(
    ("file", "free"),
    [
        ("val_loss=0.250.ckpt", "val_loss=0.250-v1.ckpt"),
        ("a.b.weights.h5", "a.b-v1.weights.h5"),
        ("a.1.ckpt.cz", "a.1-v1.ckpt.cz"),
    ],
)
def test_a_version_stands_before_the_suffix_that_readers_know(run, empty, file, free):
    record = run.save()
    record.path.rename(record.path.with_name(file))
    run.manifest.change(record.id, file=file)
    store = mirrored(run)
    empty.layout.dirpath.mkdir()
    (empty.layout.dirpath / file).write_bytes(b"somebody else's")
    assert bring_back(find([store]), empty, None).file == free


def test_a_checkpoint_that_was_reduced_here_since_is_not_another_one(run):
    record = run.save()
    store = mirrored(run)
    (found,) = find([store])
    record.path.write_bytes(b"compressed")
    run.manifest.change(record.id, digest=digest(record.path)[0], size=10)
    assert pull(store, found.catalog.entries[0], found.catalog, run.manifest).id == record.id
    run.manifest.change(record.id, resumable=False)
    with pytest.raises(MirrorError, match="has the id 1"):  # it could not be resumed from
        pull(store, found.catalog.entries[0], found.catalog, run.manifest)


def test_a_record_with_a_path_for_a_name_is_refused(empty):
    store = MemoryStore()
    entry = Entry(1, Record(1, "../evil.ckpt", digest="x:0", status=Status.VERIFIED, run="r"), (Part("k", 0),), "w")
    store.put(CATALOG, Catalog("w").with_entries([entry]).to_bytes())
    with pytest.raises(ResumeError, match="is damaged"):
        find([store])


def test_the_best_one_counts_after_several_machines(run, tmp_path):
    """The record from which the second machine continued is in no mirror any more when the third one begins."""
    store = MemoryStore()
    for loss in (1.0, 2.0, 3.0):
        run.save(loss)
    rules = KeepLast(1) | KeepBest(1, by=LOSS)
    run.mirror(store, keep=rules)._synchronise()
    for number in (2, 3, 4):
        fresh = tmp_path / f"machine {number}"
        newest = bring_back(find([store]), Manifest(fresh), LOSS)
        machine = SmallRun(fresh, parent=newest.id)
        supersede(machine.manifest, machine.run, machine.attempt)
        machine.save(2.0)
        machine.save(2.0)
        supersede(machine.manifest, machine.run, machine.attempt)
        assert not any(record.superseded for record in machine.manifest.live())
        machine.mirror(store, keep=rules)._synchronise()
    catalog, _ = read_catalog(store)
    assert catalog.entry_of(1) is not None and not any(record.superseded for record in catalog.records)


def test_what_a_start_rolled_back_stays_so_on_other_machines(run, tmp_path):
    store = MemoryStore()
    for loss in (1.0, 2.0, 0.5):
        run.save(loss)
    run.mirror(store, keep=KeepAll())._synchronise()
    run.begin(parent=2)
    run.save(3.0)
    run.save(3.0)
    run.mirror(store, keep=KeepAll())._synchronise()
    fresh = Manifest(tmp_path / "fresh")
    catalog, _ = read_catalog(store)
    for id_ in (1, 3, 5):  # not the parent of the second start
        pull(store, catalog.entry_of(id_), catalog, fresh)
    machine = SmallRun(tmp_path / "fresh", parent=5)
    machine.save(3.0)
    supersede(machine.manifest, machine.run, machine.attempt)
    assert {record.id for record in machine.manifest.live() if record.superseded} == {3}
