"""Places that are wrong, refuse, lie or hang: each gets one clear line, and all stays as it was."""

import os
import time

import pytest

from ckpt_callbacks import PolicyError
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.mirrors.keys import CATALOG
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.policy.retention import KeepLast
from ckpt_callbacks.remote.url import open_store
from tests.adapters.lightning.task import EACH_EPOCH
from tests.support.http_proxy import Answer
from tests.system.mirrors.places import PLACES, proxied
from tests.system.mirrors.uploads import Uploads, warnings

pytestmark = pytest.mark.mirrors
BUCKETS = ("s3", "gcs", "azure")
SERVERS = tuple(name for name in PLACES if name not in ("folder", "rclone-local"))


def one_line(caplog):
    """Return the only line that was said, and require that it is one that a person can read."""
    (line,) = warnings(caplog)
    assert "\n" not in line and len(line) < 500
    assert not any(word in line for word in ("Traceback", "<Error>", "object at 0x", "b'")), line
    return line


def refused(place, tmp_path, **arguments):
    """Try to send a checkpoint, which fails."""
    uploads = Uploads(place, place, tmp_path / "run", **arguments)
    uploads.run.save()
    uploads.begin()
    uploads.mirror.finish(60)
    return uploads


def spoiled(place, **changes):
    """Return a place with other options, given by the beginning of their names."""
    options = dict(place.options)
    for name, value in changes.items():
        (known,) = [one for one in options if one.startswith(name)]
        options[known] = value
    return type(place)(place.name, place.url, options, place.server, place.port)


def test_an_unknown_scheme_names_those_that_are_known(tmp_path):
    with pytest.raises(PolicyError, match=r"^LightningCheckpoint: mirrors: s4:// is not a kind of mirror") as caught:
        LightningCheckpoint(tmp_path, EACH_EPOCH, mirrors=["s4://bucket/run"])
    assert "s3" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", BUCKETS, indirect=True)
def test_a_bucket_that_does_not_exist(place, tmp_path, caplog):
    scheme, _, rest = place.url.partition("://")
    gone = type(place)(place.name, f"{scheme}://no-such-bucket/{rest.partition('/')[2]}", place.options)
    refused(gone, tmp_path)
    line = one_line(caplog)
    assert ("no-such-bucket" in line and "bucket" in line.lower().replace("no-such-bucket", "")) or "container" in line


@pytest.mark.parametrize("place", ["sftp", "webdav", "rclone-local"], indirect=True)
def test_a_folder_that_others_use_is_left_alone(place, tmp_path):
    store = open_store(place.url, place.options)
    theirs = {"data.csv": b"1,2", "checkpoints/theirs.ckpt": b"weights", "mirror/notes.txt": b"hello"}
    for key, data in theirs.items():
        store.put(key, data)
    uploads = Uploads(place, place, tmp_path / "run", keep=KeepLast(1))
    for loss in (3, 2, 1):
        uploads.run.save(loss)
        uploads.begin()
        uploads.complete()
    assert {key: store.read(key)[0] for key in theirs} == theirs
    assert len(uploads.whole()) == 1


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
def test_somebody_elses_catalog_is_left_alone(place, tmp_path, caplog):
    store = open_store(place.url, place.options)
    store.put(CATALOG, b"<html>not ours</html>")
    refused(place, tmp_path)
    assert "somebody else's" in one_line(caplog)
    assert store.read(CATALOG)[0] == b"<html>not ours</html>"


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
def test_a_newer_format_is_left_alone(place, tmp_path, caplog):
    store = open_store(place.url, place.options)
    store.put(CATALOG, b'{"format": 99, "entries": "otherwise"}')
    refused(place, tmp_path)
    assert "install a newer ckpt-callbacks" in one_line(caplog)
    assert store.read(CATALOG)[0] == b'{"format": 99, "entries": "otherwise"}'
    assert [one.key for one in store.list()] == [CATALOG]


def failure(code, text="not now"):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>"


ANSWERS = {
    "read-only": (Answer(403, failure("AccessDenied", "Access Denied.")), ("PUT", "POST")),
    "wrong region": (
        Answer(301, failure("PermanentRedirect", "use the right endpoint"), {"x-amz-bucket-region": "eu-west-1"}), None
    ),
    "clock skew": (Answer(403, failure("RequestTimeTooSkewed", "The difference is too large.")), None),
    "expired token": (Answer(400, failure("ExpiredToken", "The provided token has expired.")), None),
}  # fmt: skip


@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("kind", ANSWERS)
def test_what_a_bucket_refuses_is_said_in_one_line(kind, place, tmp_path, caplog):
    answer, methods = ANSWERS[kind]
    with proxied(place) as proxy:
        proxy.answer = lambda request: answer if methods is None or request.method in methods else None
        uploads = Uploads(place, place.through(proxy.port), tmp_path / "run")
        uploads.run.save()
        uploads.begin()
        assert not uploads.mirror.finish(60)  # which does not try again
    line = one_line(caplog)
    expected = {"read-only": "denied", "wrong region": "region", "clock skew": "clock", "expired token": "expired"}
    assert expected[kind] in line.lower(), line
    assert uploads.whole() == set()


@pytest.mark.parametrize("place", ["folder", "s3", "sftp", "webdav"], indirect=True)
def test_names_that_stores_forbid_arrive_all_the_same(place, tmp_path):
    """Names that a file system takes: spaces, percent signs, other alphabets, and 250 bytes of these."""
    names = [
        "a b.ckpt",
        "50%.ckpt",
        "x?y#z&.ckpt",
        "back\\slash.ckpt",
        "été.ckpt",
        'a:b*|<>".ckpt',
        "語" * 80 + ".ckpt",
    ]
    uploads = Uploads(place, place, tmp_path / "run", keep=KeepLast(20))
    for name in names:
        record = uploads.run.save()
        os.rename(record.path, record.path.with_name(name))
        uploads.run.manifest.change(record.id, file=name)
    uploads.begin()
    uploads.complete()
    catalog, _ = read_catalog(open_store(place.url, place.options))
    assert sorted(record.file for record in catalog.records) == sorted(names)


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_server_that_is_not_there(place, tmp_path, caplog):
    with proxied(place) as proxy:
        proxy.resets = True
        uploads = Uploads(place, place.through(proxy.port), tmp_path / "run", patience=0.5)
        uploads.run.save()
        uploads.begin()
        begin = time.monotonic()
        assert not uploads.mirror.finish(2)
        assert time.monotonic() - begin < 30
    assert "checkpoints stay here, and are sent later" in one_line(caplog)
