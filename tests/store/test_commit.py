"""Commits: all or nothing, and never overwriting a file."""

import errno
import os

import pytest

from ckpt_callbacks.store.commit import commit, flush, free_name, remove, sync_folder


@pytest.fixture(params=["file", "folder"])
def staged(request, tmp_path):
    path = tmp_path / "staging" / "1.ckpt"
    path.parent.mkdir()
    write(path, b"new", request.param)
    return path


def write(path, data, kind):
    if kind == "folder":
        path.mkdir()
        path = path / "data"
    path.write_bytes(data)


def read(path):
    return (path / "data" if path.is_dir() else path).read_bytes()


@pytest.fixture
def flushed(monkeypatch):
    """Paths that were flushed, in their order."""
    paths = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: paths.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    return paths


def test_a_commit_moves_and_flushes_both_folders(staged, tmp_path, flushed):
    commit(staged, tmp_path / "a.ckpt")
    assert read(tmp_path / "a.ckpt") == b"new"
    assert not staged.exists()
    assert flushed == [str(tmp_path), str(staged.parent)]


@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "dangling link"])
def test_a_commit_never_overwrites(staged, tmp_path, kind):
    target = tmp_path / "a.ckpt"
    if kind == "empty folder":
        target.mkdir()
    elif kind == "dangling link":
        target.symlink_to("gone")
    else:
        write(target, b"old", kind)
    with pytest.raises(FileExistsError, match=r"a\.ckpt exists"):
        commit(staged, target)
    assert read(staged) == b"new"
    assert kind in ("empty folder", "dangling link") or read(target) == b"old"


def test_a_commit_that_cannot_be_made_durable_did_not_happen(staged, tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        commit(staged, tmp_path / "a.ckpt")
    assert read(staged) == b"new"
    assert not (tmp_path / "a.ckpt").exists()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_that_cannot_flush_folders_are_served(staged, tmp_path, monkeypatch, code):
    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, "cannot")

    monkeypatch.setattr(os, "fsync", fsync)
    flush(staged)
    commit(staged, tmp_path / "a.ckpt")
    remove(tmp_path / "a.ckpt")
    assert os.listdir(tmp_path) == ["staging"]


def test_flushing_reaches_every_file_and_folder(tmp_path, flushed):
    for folder in ("a", "a/b", "a/c"):
        (tmp_path / folder).mkdir()
    for file in ("a/1", "a/b/2", "a/b/3"):
        (tmp_path / file).write_bytes(b"x")
    flush(tmp_path / "a")
    files, folders = flushed[:3], flushed[3:]
    assert sorted(files) == [str(tmp_path / name) for name in ("a/1", "a/b/2", "a/b/3")]
    assert sorted(folders) == [str(tmp_path / name) for name in ("a", "a/b", "a/c")]
    assert folders[-1] == str(tmp_path / "a")  # what is inside first
    flushed.clear()
    flush(tmp_path / "a" / "1")
    assert flushed == [str(tmp_path / "a/1")]


def test_flushing_what_failed_to_write_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")


def test_removing_is_durable_and_forgiving(staged, tmp_path, flushed):
    remove(staged)
    assert not os.path.lexists(staged)
    assert flushed == [str(staged.parent)]
    remove(staged)
    remove(tmp_path / "never" / "was")


def test_removing_a_link_leaves_its_target(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    remove(tmp_path / "link")
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize(
    ("taken", "stem", "suffix", "name"),
    [
        ([], "a", ".ckpt", "a.ckpt"),
        (["a.ckpt"], "a", ".ckpt", "a-v1.ckpt"),
        (["a.ckpt", "a-v1.ckpt", "a-v3.ckpt"], "a", ".ckpt", "a-v2.ckpt"),
        (["a.ckpt"], "a", ".weights.h5", "a.weights.h5"),
        (["a.weights.h5"], "a", ".weights.h5", "a-v1.weights.h5"),
        (["a"], "a", "", "a-v1"),
    ],
)
def test_a_taken_name_gets_a_version(tmp_path, taken, stem, suffix, name):
    for each in taken:
        (tmp_path / each).symlink_to("gone")  # even a dangling link holds its name
    assert free_name(tmp_path, stem, suffix) == name
