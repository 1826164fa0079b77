"""URLs, and the stores that they name."""

import re
import sys

import pytest

from ckpt_callbacks.errors import MirrorError, MissingDependency
from ckpt_callbacks.remote.secrets import scrubbed, without_user
from ckpt_callbacks.remote.url import open_store


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("nonsense://a/b", "nonsense:// is not a kind of mirror; expected one of s3, gs, az, hf, rclone"),
        ("https://host/a", "did you mean webdavs://?"),
        ("gcs://bucket/a", "did you mean gs://?"),
        ("zip://a.zip", "zip:// is not a kind of mirror"),
        ("http://host/a", "http:// is not a kind of mirror"),
    ],
)
def test_an_unknown_kind_of_place_is_refused(url, line):
    with pytest.raises(MirrorError, match=re.escape(line)):
        open_store(url)


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [
        ("paramiko", "sftp://host/a", "sftp"),
        ("webdav4", "webdavs://host/a", "webdav"),
        ("hf_xet", "hf://buckets/a/b", "hub"),
        ("huggingface_hub", "hf://models/a/b", "hub"),
    ],
)
def test_an_engine_that_is_missing_is_named_with_its_extra(monkeypatch, module, url, extra):
    for name in [name for name in sys.modules if name.startswith("ckpt_callbacks.remote.")]:
        if name.rpartition(".")[2].startswith(("sftp", "webdav", "hub")):
            monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=re.escape(f'pip install "ckpt-callbacks[{extra}]"')):
        open_store(url)


def test_rclone_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingDependency, match=re.escape('pip install "ckpt-callbacks[rclone]"')):
        open_store("rclone:remote:a")


@pytest.mark.parametrize("password", ["canary", "can@ary", "can/ary", "ca:n@a/ry"])
def test_no_password_of_a_url_is_shown(password):
    url = f"sftp://user:{password}@host:22/a/b"
    assert without_user(url) == "sftp://host:22/a/b"
    assert scrubbed(f"cannot open {url}") == "cannot open sftp://***@host:22/a/b"
    assert scrubbed(OSError(5, f"no {password} here"), {"a": [password]}) == "no *** here"
