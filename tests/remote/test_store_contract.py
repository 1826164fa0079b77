"""The promises of stores, in each kind of place."""

import json
import subprocess
import sys
import threading
import time

import pytest

from ckpt_callbacks.errors import MirrorConflict, MirrorDamaged, MirrorError, MirrorUnreachable
from tests.support.processes import ENVIRONMENT

from .sent_file import SentFile, Stopped


def test_an_object_is_written_read_and_deleted(place):
    store = place.open()
    assert store.stat("records/1.json") is None and list(store.list()) == []
    with pytest.raises(FileNotFoundError):
        store.read("records/1.json")
    written = store.put("records/1.json", b'{"a": 1}')
    other = place.open()
    assert other.read("records/1.json")[0] == b'{"a": 1}'
    ranges = {(2, 3): b'a":', (5, None): b" 1}", (5, 100): b" 1}", (8, None): b"", (9, 4): b"", (1, 0): b""}
    for (start, length), expected in ranges.items():
        data, facts = other.read("records/1.json", start, length)
        assert (data, facts.version, facts.size) == (expected, written.version, 8)
    assert other.stat("records/1.json").version == written.version
    store.delete([written, written])
    assert other.stat("records/1.json") is None and list(other.list()) == []
    store.delete([written])


def test_the_folder_of_a_checkpoint_goes_with_its_last_file(place):
    if place.files is None:
        pytest.skip("its files are not on this machine")
    store, folder = place.open(), "checkpoints/0123456789abcdef"
    written = [store.put(f"{folder}/{name}", b"1") for name in ("a", "inner/b", "inner/c")]
    store.delete(written[1:2])
    assert [each.key for each in store.list()] == [f"{folder}/a", f"{folder}/inner/c"]
    store.delete([written[0], written[2]])
    assert not (place.files / folder).exists()
    assert store.put(f"{folder}/a", b"2") and store.read(f"{folder}/a")[0] == b"2"


def test_objects_are_listed_in_the_order_of_their_keys(place):
    store = place.open()
    keys = ["a/b", "a-b", "a/b.c", "a/b c=ä", "records/01.json", "records/10.json", "records/2/x", "records.json"]
    keys += ["checkpoints/f00/a%20b=1.ckpt", "checkpoints/f00/%2Ea", "checkpoints/f00/a+b,c@d(e)~f", "a/what x&y"]
    for key in keys:
        store.put(key, key.encode())
    assert [each.key for each in store.list()] == sorted(keys)
    for prefix in ("a", "a/", "records/", "records/1", "records", "z", "z/", "records/2/"):
        assert [each.key for each in store.list(prefix)] == sorted(key for key in keys if key.startswith(prefix))
    assert {key: store.read(key)[0].decode() for key in keys} == {key: key for key in keys}
    assert {each.key: each.size for each in store.list()} == {key: len(key.encode()) for key in keys}


def test_a_version_is_compared(place):
    store = place.open()
    first = store.put("owner", b"one", replacing="")
    with pytest.raises(MirrorConflict, match="exists already"):
        place.open().put("owner", b"two", replacing="")
    second = store.put("owner", b"two", replacing=first.version)
    assert place.open().read("owner")[0] == b"two"
    assert second.version != first.version
    with pytest.raises(MirrorConflict, match="another process has written it"):
        store.put("owner", b"six", replacing=first.version)
    store.put("owner", b"ten", replacing=second.version)
    store.delete([second])
    with pytest.raises(MirrorConflict, match="another process has deleted it"):
        store.put("owner", b"two", replacing=second.version)
    assert store.stat("owner") is None


def test_names_that_lead_elsewhere_are_refused(place):
    store = place.open()
    for key in ("", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.b", "a\nb", "a\0b"):
        for call, *data in ((store.put, b""), (store.stat,), (store.read,)):
            with pytest.raises(MirrorError, match="cannot be the name of an object"):
                call(key, *data)
    assert list(store.list()) == []


@pytest.mark.parametrize(("parts", "more"), [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1), (3, 0), (5, 7)])
def test_a_file_of_any_size_arrives(place, tmp_path, parts, more):
    size = parts * place.part + more
    store, file = place.open(), SentFile(tmp_path / "sent", size, place.part)
    facts = store.upload(file.upload())
    assert store.read("data/a.ckpt")[0] == file.data
    assert facts.size == size == sum(file.sent)
    assert store.stat("data/a.ckpt").version == facts.version
    assert list(store.list(unfinished=True)) == []


def test_an_upload_replaces_what_is_there(place, tmp_path):
    store = place.open()
    store.put("data/a.ckpt", b"old")
    file = SentFile(tmp_path / "sent", 3 * place.part, place.part)
    store.upload(file.upload())
    assert place.open().read("data/a.ckpt")[0] == file.data


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_an_upload_that_was_interrupted_is_finished(place, tmp_path, stop_after):
    file = SentFile(tmp_path / "sent", 4 * place.part + 5, place.part)
    with pytest.raises(Stopped):
        place.open().upload(file.upload(stop_after, threads=1))
    store = place.open()
    if place.hides:
        assert list(store.list()) == [] and store.stat("data/a.ckpt") is None
    looked_at = []
    store.upload(file.upload(threads=1, read=looked_at.append))
    if place.continues:
        assert len(file.sent) <= 5 - stop_after + 1
        # Google's checksum is that of the whole file.
        assert len(looked_at) <= 5 - len(file.sent) or place.url.startswith("gs:")
    assert store.read("data/a.ckpt")[0] == file.data
    assert list(store.list(unfinished=True)) == []


def test_an_upload_that_nobody_finishes_can_be_deleted(place, tmp_path):
    store, file = place.open(), SentFile(tmp_path / "sent", 4 * place.part, place.part)
    with pytest.raises(Stopped):
        store.upload(file.upload(2))
    unfinished = list(store.list(unfinished=True))
    assert [each.key for each in unfinished] in ([], ["data/a.ckpt"])
    assert list(store.list("records/", unfinished=True)) == []
    store.delete(unfinished)
    assert list(store.list(unfinished=True)) == []


@pytest.mark.parametrize("after", [1, 5])
def test_a_process_that_is_killed_leaves_nothing_visible(place, tmp_path, after):
    if place.url.startswith("memory:"):
        pytest.skip("the memory of a process ends with it")
    file, notes = SentFile(tmp_path / "sent", 8 * place.part + 1, place.part), tmp_path / "notes"
    command = [sys.executable, "-m", "tests.remote.sent_file", place.url, json.dumps(place.options), file.path, notes]
    command.append(str(place.part))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        for _ in range(after):
            assert process.stdout.readline()
        process.kill()
    store = place.open()
    assert list(store.list()) == [] and store.stat("data/a.ckpt") is None
    file.state = json.loads(notes.read_text()) if notes.exists() else {}
    store.upload(file.upload(threads=1))
    if place.continues:
        assert len(file.sent) <= 9 - after + 1
    assert store.read("data/a.ckpt")[0] == file.data
    assert list(store.list(unfinished=True)) == []


def test_the_error_of_a_callback_comes_through(place, tmp_path):
    store, file = place.open(), SentFile(tmp_path / "sent", 3 * place.part, place.part)

    def refuse(count):
        raise KeyError("the rate")

    with pytest.raises(KeyError, match="the rate"):
        store.upload(file.upload(before=refuse))
    file.path.write_bytes(file.data[: place.part])
    with pytest.raises(OSError, match="has become shorter") as found:
        store.upload(file.upload())
    assert not isinstance(found.value, MirrorError)


def test_one_of_many_creates_an_object(place):
    if not place.creates_once:
        pytest.skip("the last writer wins there")
    stores, won, barrier = [place.open() for _ in range(4)], [], threading.Barrier(4)
    stores[0].stat("owner")

    def create(number):
        barrier.wait()
        try:
            stores[number].put("owner", f"{number}".encode(), replacing="")
            won.append(number)
        except MirrorConflict:
            pass

    _at_once(create, 4)
    assert len(won) == 1
    assert stores[0].read("owner")[0] == f"{won[0]}".encode()


def test_no_write_of_many_is_lost(place):
    if not place.compares:
        pytest.skip("versions are looked at before")
    place.open().put("count", b"0")

    def count(_):
        store = place.open()
        for _ in range(3):
            while True:
                data, facts = store.read("count")
                try:
                    store.put("count", f"{int(data) + 1}".encode(), replacing=facts.version)
                    break
                except (MirrorConflict, MirrorUnreachable):
                    pass

    _at_once(count, 3)
    assert place.open().read("count")[0] == b"9"


def test_damage_of_what_arrived_is_noticed(place, tmp_path):
    if not (place.continues and place.files):
        pytest.skip("its files are not seen before they are whole")
    file, store = SentFile(tmp_path / "sent", 3 * place.part, place.part), place.open()

    def damage(count):
        file.sent.append(count)
        if len(file.sent) < 3:
            return
        time.sleep(0.3)  # until the server has carried out what was sent
        for path in (place.files / "data").glob(".*"):
            with path.open("r+b") as arrived:
                arrived.write(b"\0damaged")

    with pytest.raises(MirrorDamaged, match="holds other bytes than were sent, near byte 0"):
        store.upload(file.upload(progress=damage))
    assert list(store.list()) == [] and list(store.list(unfinished=True)) == []
    store.upload(file.upload())
    assert store.read("data/a.ckpt")[0] == file.data


def test_files_of_others_are_left_alone(place, tmp_path):
    if place.files is None:
        pytest.skip("its files are not on this machine")
    store = place.open()
    store.put("a", b"mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"theirs")
    (place.files / ".hidden").write_bytes(b"theirs")
    if place.continues:  # other servers follow the links themselves
        (place.files / "link").symlink_to(outside)
    assert [each.key for each in store.list()] == ["a"]
    store.delete(list(store.list()))
    assert (outside / "secret").exists() and (place.files / ".hidden").exists()


def test_a_server_that_comes_back_is_found_again(place, tmp_path):
    if place.server is None:
        pytest.skip("it has no server")
    store, file = place.open(), SentFile(tmp_path / "sent", 8 * place.part, place.part)
    store.put("a", b"before")

    def kill(count):
        file.sent.append(count)
        if len(file.sent) == 3:
            place.server.kill()

    try:
        with pytest.raises(MirrorUnreachable):
            store.upload(file.upload(progress=kill, threads=1))
        with pytest.raises(MirrorUnreachable):
            store.stat("a")
    finally:
        place.server.start()
    assert store.read("a")[0] == b"before"
    assert [each.key for each in store.list()] == ["a"]
    store.upload(file.upload())
    assert store.read("data/a.ckpt")[0] == file.data


def _at_once(work, count):
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
