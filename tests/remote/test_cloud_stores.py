"""The promises of the stores of the three clouds beyond the contract of all stores."""

import pytest

from ckpt_callbacks.errors import MirrorConflict, MirrorError
from ckpt_callbacks.remote.checksums import checksum_of_file, local_checksum
from ckpt_callbacks.remote.url import open_store

from .cloud_uploads import begun
from .sent_file import SentFile, Stopped

ALGORITHMS = {"s3": "crc32", "gcs": "crc32c", "azure": ""}


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_no_part_that_has_arrived_is_sent_again(cloud, file, part, stop_after):
    counts, facts = begun(file)
    with pytest.raises(Stopped):
        cloud.open().upload(file.upload(stop_after, **facts))
    assert len(counts) == stop_after
    counts.clear()
    store = cloud.open()
    sent = store.upload(file.upload(**facts))
    assert counts == [part] * (3 - stop_after) + [5]
    assert store.read("data/a.ckpt")[0] == file.data and sent.size == len(file.data)


def test_parts_of_several_threads_go_on(cloud, file):
    counts, facts = begun(file)
    with pytest.raises(Stopped):
        cloud.open().upload(file.upload(2, **{**facts, "threads": 3}))
    first = len(counts)
    store = cloud.open()
    store.upload(file.upload(**{**facts, "threads": 3}))
    assert len(counts) <= 4 + 3  # what was under way, and nothing else
    assert first >= 2 and store.read("data/a.ckpt")[0] == file.data


def test_an_upload_whose_end_was_not_noted_is_not_sent_again(cloud, file):
    counts, facts = begun(file)
    first = cloud.open().upload(file.upload(**facts))
    counts.clear()
    again = cloud.open().upload(file.upload(**facts))
    assert counts == [] and (again.version, again.size) == (first.version, first.size)


def test_an_upload_of_which_the_store_knows_nothing_begins_again(cloud, file):
    _, facts = begun(file)
    with pytest.raises(Stopped):
        cloud.open().upload(file.upload(2, **facts))
    file.state = {name: _other(value) for name, value in file.state.items()}
    store = cloud.open()
    store.upload(file.upload(**facts))
    assert store.read("data/a.ckpt")[0] == file.data


def _other(value):
    return f"{value[:-4]}beef" if isinstance(value, str) else value


def test_a_file_that_has_changed_is_sent_whole(cloud, file, part, tmp_path):
    counts, facts = begun(file)
    with pytest.raises(Stopped):
        cloud.open().upload(file.upload(2, **facts))
    other = SentFile(tmp_path / "other", 2 * part + 1)
    other.state = file.state
    counts.clear()
    store = cloud.open()
    store.upload(other.upload(**facts))
    assert counts == [part, part, 1] and store.read("data/a.ckpt")[0] == other.data
    assert list(store.list(unfinished=True)) == []


def test_bytes_that_have_changed_are_sent_again(cloud, file):
    if cloud.name == "gcs":
        pytest.skip("Google says nothing about the bytes before the end")
    counts, facts = begun(file)
    with pytest.raises(Stopped):
        cloud.open().upload(file.upload(2, **facts))
    file.data = b"other" + file.data[5:]
    file.path.write_bytes(file.data)
    store = cloud.open()
    store.upload(file.upload(**facts))
    assert len(counts) == 2 + 3 and store.read("data/a.ckpt")[0] == file.data


def test_unfinished_uploads_are_listed_and_deleted(cloud, file):
    if cloud.name == "gcs":
        pytest.skip("Google does not list them")
    store = cloud.open()
    for key in ("data/a b.ckpt", "data/b.ckpt"):
        file.state = {}
        with pytest.raises(Stopped):
            store.upload(file.upload(2, key=key, **begun(file)[1]))
    store.put("data/c.ckpt", b"")
    found = list(store.list("data/", unfinished=True))
    assert [each.key for each in found] == ["data/a b.ckpt", "data/b.ckpt"] and all(each.upload for each in found)
    assert list(store.list("records/", unfinished=True)) == []
    store.delete(found[:1])
    assert [each.key for each in store.list(unfinished=True)] == ["data/b.ckpt"]
    store.delete([*found, *store.list()])
    store.delete(found)
    assert list(store.list(unfinished=True)) == [] and list(store.list()) == []


def test_the_checksum_is_the_one_of_the_bytes(cloud, file):
    store = cloud.open()
    upload = file.upload(**begun(file)[1])
    facts = store.upload(upload)
    algorithm = ALGORITHMS[cloud.name]
    expected = checksum_of_file(algorithm, upload) if algorithm else ""
    assert facts.checksum == expected and store.stat("data/a.ckpt").checksum == expected
    store.put("a", b"some bytes")
    small = store.stat("a").checksum
    assert small and small == local_checksum(small, [b"some ", b"bytes"])


def test_names_of_all_kinds_are_kept(cloud):
    store = cloud.open()
    keys = ["a b/c+d=e,f.json", "epoch=3-step=300 ä漢.ckpt", "%41", "a&b;c", "x'y(z)!~*", "n" * 200]
    for key in keys:
        store.put(key, key.encode())
    for key in keys:
        assert store.read(key)[0] == key.encode() and store.stat(key).size == len(key.encode())
    assert sorted(each.key for each in store.list()) == sorted(keys)
    store.delete(list(store.list()))
    assert list(store.list()) == []
    with pytest.raises(MirrorError, match="at most 1024 bytes"):
        store.put("n" * 1100, b"")


def test_lists_go_on_page_after_page(cloud, monkeypatch):
    store = cloud.open()
    for number in range(25):
        store.put(f"records/{number:02}", b"")
    monkeypatch.setattr("ckpt_callbacks.remote.gcs_store._PAGE", 10)
    assert [each.key for each in store.list("records/")] == [f"records/{number:02}" for number in range(25)]
    assert next(store.list("records/1")).key == "records/10"


def test_versions_of_a_list_are_those_of_an_object(cloud):
    store = cloud.open()
    written = store.put("a", b"1")
    assert {written.version} == {store.stat("a").version, store.read("a")[1].version, next(store.list()).version}
    with pytest.raises(MirrorConflict):
        store.put("a", b"2", replacing="77")


def test_the_environment_is_enough(cloud, file, monkeypatch):
    """Both clients of a bucket find the server and the credentials there."""
    options = {name: str(value) for name, value in cloud.options.items()}
    if cloud.name == "s3":
        told = {
            "AWS_ENDPOINT_URL": options["endpoint"],
            "AWS_ACCESS_KEY_ID": options["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": options["secret_access_key"],
        }
    elif cloud.name == "gcs":
        told = {"STORAGE_EMULATOR_HOST": options["endpoint"].partition("://")[2]}
    else:
        parts = {"AccountName": "account_name", "AccountKey": "account_key", "BlobEndpoint": "endpoint"}
        text = ";".join(f"{name}={options[option]}" for name, option in parts.items())
        told = {"AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{text};"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    store = open_store(cloud.url)
    store.put("a", b"1", replacing="")
    store.upload(file.upload(**begun(file)[1]))
    assert store.read("a")[0] == b"1" and [each.key for each in store.list()] == ["a", "data/a.ckpt"]
    assert store.stat("data/a.ckpt").size == len(file.data)


@pytest.mark.mirrors
def test_options_go_before_the_environment(clouds, tmp_path, monkeypatch):
    place = clouds.place("s3", tmp_path)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    store = place.open()
    store.put("a", b"1")
    assert store.read("a")[0] == b"1" and store.stat("a").size == 1


def test_names_of_other_libraries_are_understood(clouds, tmp_path):
    place = clouds.place("s3", tmp_path)
    place.open().put("a", b"1")
    given = place.options
    options = {"key": given["access_key_id"], "secret": given["secret_access_key"], "endpoint_url": given["endpoint"]}
    assert open_store(place.url, options).read("a")[0] == b"1"
