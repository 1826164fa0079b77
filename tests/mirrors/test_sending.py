"""The way of one checkpoint's bytes into a store."""

import random

import pytest

from ckpt_callbacks.errors import MirrorDamaged, MirrorUnreachable
from ckpt_callbacks.mirrors.keys import CHECKPOINTS
from ckpt_callbacks.mirrors.notes import Notes
from ckpt_callbacks.mirrors.sending import Sending
from ckpt_callbacks.policy.retention import KeepLast
from ckpt_callbacks.remote.checksums import local_checksum
from ckpt_callbacks.remote.object_store import ObjectFacts
from ckpt_callbacks.remote.url import open_store
from ckpt_callbacks.store.digest import digest
from tests.mirrors.runs import SmallRun
from tests.support.memory_store import MemoryStore


class SummedStore(MemoryStore):
    """A store with checksums."""

    def _facts(self, key):
        data, version = self.objects[key]
        return ObjectFacts(key, len(data), version, local_checksum("crc32", [data]))


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path / "run")


@pytest.fixture(params=[MemoryStore, SummedStore])
def store(request):
    return request.param()


def sending(run, store, moved=lambda count: None):
    """Return what sends to a store, as a new process has it."""
    return Sending(store, Notes(run.manifest.layout.private, store.url), None, lambda: None, moved)


def folder(run):
    """Save a checkpoint of several files, and return its record."""
    record = run.save()
    path = record.path.with_suffix(".folder")
    path.mkdir()
    for name in "abc":
        (path / name).write_bytes(random.randbytes(50))
    found, size = digest(path)
    return run.manifest.change(record.id, file=path.name, digest=found, size=size)


def damaged(store, key):
    """Change one byte in the middle of an object."""
    data, version = store.objects[key]
    middle = len(data) // 2
    store.objects[key] = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], version


def kept(store):
    """Return the bytes of the objects with checkpoints."""
    return [data for key, (data, _) in store.objects.items() if key.startswith(CHECKPOINTS)]


@pytest.mark.parametrize("same_process", [True, False])
def test_what_the_store_has_called_damaged_is_never_taken_for_sent(run, store, same_process):
    record, sends = run.save(size=3 << 20), sending(run, store)

    def damage(when, name, key):
        if (when, name) == ("after", "upload"):
            damaged(store, key)
            raise MirrorDamaged("memory://a: has received other bytes")

    store.fails = damage
    with pytest.raises(MirrorDamaged):
        sends.send(record, record.path)
    store.fails = lambda *_: None
    sends = sends if same_process else sending(run, store)
    (part,) = sends.send(record, record.path)
    data = record.path.read_bytes()
    assert kept(store) == [data]
    assert part.checksum == (local_checksum("crc32", [data]) if isinstance(store, SummedStore) else "")


def test_what_was_sent_before_its_entry_could_be_written_is_not_sent_again(run, store):
    record, sends = run.save(), sending(run, store)
    parts = sends.send(record, record.path)
    assert sends.send(record, record.path) == parts
    if isinstance(store, SummedStore):
        assert sending(run, store).send(record, record.path) == parts
    assert [name for name, _ in store.requests].count("upload") == 1


def test_an_object_that_is_gone_when_it_is_compared_is_no_missing_checkpoint(run):
    record, store = run.save(), MemoryStore()

    def lose(when, name, key):
        if (when, name) == ("before", "read"):
            store.objects.pop(key)

    store.fails = lose
    with pytest.raises(MirrorUnreachable, match="is gone; it is sent again"):
        sending(run, store).send(record, record.path)


@pytest.mark.parametrize("save", [SmallRun.save, folder])
def test_work_on_this_machine_is_movement_until_it_repeats_itself(run, save):
    record, store, moved = save(run), SummedStore(), []
    sending(run, store).send(record, record.path)
    sends = sending(run, store, moved.append)
    for _ in range(3):
        before = len(moved)
        sends.send(record, record.path)
        assert len(moved) > before and not any(moved)
    before = len(moved)
    sends.send(record, record.path)
    assert len(moved) == before


def test_what_arrived_of_a_superseded_checkpoint_is_deleted(run, tmp_path):
    store = open_store(str(tmp_path / "mirror"))
    old = run.save(size=1000)
    mirror = run.mirror(store, keep=KeepLast(1))

    def stop(count):
        raise MirrorUnreachable("the disk is gone")

    sends = Sending(store, notes := mirror.notes, None, lambda: None, stop, part=100)
    with pytest.raises(MirrorUnreachable):
        sends.send(old, old.path)
    assert len(notes.uploads) == 1 and len(list(store.list(unfinished=True))) == 1
    run.save(0.5)
    mirror.start()
    assert mirror.finish(5)
    assert not notes.uploads and list(store.list(unfinished=True)) == []
    assert len(list(store.list(CHECKPOINTS))) == 1
