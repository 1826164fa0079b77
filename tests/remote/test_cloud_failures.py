"""Failures of the three clouds and of the way there, and the messages about them."""

import socket
import traceback
from importlib import import_module

import pytest

from ckpt_callbacks.errors import MirrorDamaged, MirrorError, MirrorUnreachable
from ckpt_callbacks.remote import bucket
from ckpt_callbacks.remote.retried import Retried
from ckpt_callbacks.remote.url import open_store
from tests.support.servers.seaweed import READER

from .cloud_uploads import Between, begun, moved
from .sent_file import SentFile, Stopped


def test_a_bucket_that_is_missing_is_named(cloud, file):
    store = open_store(cloud.bucketless, cloud.options)
    calls = [lambda: store.put("a", b""), lambda: list(store.list()), lambda: store.put("a", b"", replacing="")]
    for call in [*calls, lambda: store.upload(file.upload(**begun(file)[1]))]:
        with pytest.raises(MirrorError, match=r"nobucket.*bucket") as found:
            call()
        assert type(found.value) is MirrorError and "\n" not in str(found.value)


def test_credentials_that_are_wrong_are_no_secret(cloud, file):
    if cloud.wrong is None:
        pytest.skip("the server accepts all")
    store = cloud.open(**cloud.wrong)
    secrets = [
        str(value) for options in (cloud.options, cloud.wrong) for value in options.values() if "://" not in value
    ]
    for call in _calls(store, file):
        with pytest.raises(MirrorError, match=r"check the credentials|give these credentials") as found:
            call()
        told = "".join(traceback.format_exception(found.value))
        assert type(found.value) is MirrorError and "\n" not in str(found.value)
        assert secrets and not any(secret in told for secret in secrets)


def _is_secret(value):
    return "canary-" in value or value.endswith("=")


def _calls(store, file):
    return [
        lambda: store.put("a", b""),
        lambda: store.read("a"),
        lambda: store.stat("a"),
        lambda: list(store.list()),
        lambda: store.upload(file.upload(**begun(file)[1])),
    ]


def test_a_server_that_is_away_may_come_back(cloud, file):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = moved(cloud, closed.getsockname()[1])
        for call in _calls(cloud.open(endpoint=endpoint), file):
            with pytest.raises(MirrorUnreachable, match="no answer") as found:
                call()
            assert "canary" not in "".join(traceback.format_exception(found.value))


@pytest.fixture
def quick(monkeypatch):
    """Limits of time that a test can wait for."""
    for name in ("CONNECTING", "WAITING"):
        _limit(monkeypatch, name, 0.4)
    monkeypatch.setitem(bucket.CLIENT, "read_timeout", "400ms")


def test_a_server_that_hangs_is_given_up(cloud, file, quick):
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        for call in _calls(cloud.open(endpoint=moved(cloud, hangs.getsockname()[1])), file):
            with pytest.raises(MirrorUnreachable, match="no answer"):
                call()


def test_a_slow_connection_is_no_failure(cloud, tmp_path, monkeypatch):
    """A part takes longer than the limit for one call of the socket."""
    _limit(monkeypatch, "CONNECTING", 0.2)
    file = SentFile(tmp_path / "sent", 32 << 20)
    with Between(cloud) as (proxy, store):
        proxy.rate = 16 << 20
        store.upload(file.upload(part=32 << 20, threads=1))
        proxy.rate = None
    assert cloud.open().read("data/a.ckpt")[0] == file.data


def test_bytes_that_change_on_their_way_are_noticed(cloud, file):
    with Between(cloud) as (proxy, store):
        changed = []

        def change(request, data):
            if request.method in ("PUT", "POST") and len(data) > 1000 and not changed:
                changed.append(request)
                return data[:500] + bytes([data[500] ^ 1]) + data[501:]
            return data

        proxy.change = change
        try:
            with pytest.raises(MirrorDamaged):
                store.upload(file.upload(**begun(file)[1]))
            assert "session" not in file.state, "Google would tell the same object again"
            store.upload(file.upload(**begun(file)[1]))  # with what was noted
        finally:
            proxy.change = lambda request, data: data
    assert changed and cloud.open().read("data/a.ckpt")[0] == file.data


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_tried_again(cloud, file, status):
    with Between(cloud) as (proxy, store):
        usual, proxy.answer = proxy.answer, lambda request: status
        try:
            for call in _calls(store, file):
                with pytest.raises(MirrorUnreachable, match=f"{status}.*try again later"):
                    call()
        finally:
            proxy.answer = usual
        store.put("a", b"")


@pytest.mark.mirrors
def test_a_reader_cannot_write(clouds, file, tmp_path):
    place = clouds.place("s3", tmp_path)
    place.open().put("a", b"1")
    store = place.open(**READER)
    assert store.read("a")[0] == b"1" and [each.key for each in store.list()] == ["a"]
    for call in (lambda: store.put("b", b""), lambda: store.upload(file.upload(**begun(file)[1]))):
        with pytest.raises(MirrorError, match=r"403 AccessDenied.*the right to list, read, write and delete"):
            call()
    store.delete([])
    with pytest.raises(MirrorError, match=r"AccessDenied|denied"):
        store.delete(list(place.open().list()))
    assert place.open().read("a")[0] == b"1"


def test_a_store_that_knows_no_checksums_compares_md5(clouds, file, tmp_path):
    place = clouds.place("s3", tmp_path)
    refused = b"<Error><Code>NotImplemented</Code></Error>"
    head = b"HTTP/1.1 501 Refused\r\nContent-Length: %d\r\n\r\n" % len(refused)
    with Between(place) as (proxy, store):
        proxy.answer = lambda request: head + refused if "x-amz-checksum-type" in request.headers else None
        facts = store.upload(file.upload(**begun(file)[1]))
    sent = [request for request in proxy.requests if "partNumber" in request.path]
    assert len(sent) == 4 and all("content-md5" in request.headers for request in sent)
    assert facts.checksum == "" and place.open().read("data/a.ckpt")[0] == file.data


@pytest.mark.mirrors
def test_an_upload_goes_on_when_the_server_is_back(clouds, file, tmp_path):
    place, server = clouds.place("s3", tmp_path), clouds.server("s3").server
    counts, facts = begun(file)

    def kill(count):
        file.sent.append(count)
        if len(file.sent) == 2:
            server.kill()

    try:
        with pytest.raises(MirrorUnreachable):
            place.open().upload(file.upload(**{**facts, "progress": kill}))
        with pytest.raises(MirrorUnreachable):
            place.open().stat("a")
    finally:
        server.start()
    assert counts == [place.part] * 3
    counts.clear()
    store = Retried(place.open())
    store.upload(file.upload(**facts))
    assert counts == [place.part, 5] and store.read("data/a.ckpt")[0] == file.data


@pytest.mark.mirrors
def test_the_address_of_a_session_is_in_no_message(clouds, file, tmp_path):
    place = clouds.place("gcs", tmp_path)
    with pytest.raises(Stopped):
        place.open().upload(file.upload(1, **begun(file)[1], key="data/b.ckpt"))
    secret = file.state["session"].partition("upload_id=")[2]
    place.proxy.resets = True
    try:
        with pytest.raises(MirrorUnreachable) as found:
            place.open().upload(file.upload(**begun(file)[1], key="data/b.ckpt"))
    finally:
        place.proxy.resets = False
    assert secret and secret not in "".join(traceback.format_exception(found.value))


def _limit(monkeypatch, name, seconds):
    for client in ("azure_client", "gcs_client", "s3_client"):  # not installed for the quick tests
        monkeypatch.setattr(import_module(f"ckpt_callbacks.remote.{client}"), name, seconds)
