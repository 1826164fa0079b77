"""Aliases: links that move, never dangle, and never replace files of others."""

import os
from pathlib import Path

import pytest

from ckpt_callbacks.store.aliases import move_alias, read_alias

OURS = ("1.ckpt", "2.ckpt", "3.keras", "4.weights.h5")


@pytest.fixture(params=["links", "no links"])
def dirpath(request, tmp_path, monkeypatch):
    for name in OURS:
        (tmp_path / name).write_text(name)
    if request.param == "no links":

        def symlink(*arguments, **options):
            raise OSError("not supported")

        monkeypatch.setattr(os, "symlink", symlink)
    return tmp_path


def move(dirpath, name, file, ours=OURS):
    move_alias(dirpath, name, file, ours)


def others(dirpath):
    return sorted(set(os.listdir(dirpath)) - set(OURS))


def test_an_alias_moves_changes_its_suffix_and_goes(dirpath):
    assert read_alias(dirpath, "best", OURS) is None
    for file in ("1.ckpt", "2.ckpt", "2.ckpt", "3.keras", "4.weights.h5", "1.ckpt"):
        move(dirpath, "best", file)
        assert read_alias(dirpath, "best", OURS) == file
        assert len(others(dirpath)) == 1
    move(dirpath, "last", "1.ckpt")
    move(dirpath, "best", None)
    assert read_alias(dirpath, "best", OURS) is None
    assert read_alias(dirpath, "last", OURS) == "1.ckpt"


def test_a_link_is_relative_and_has_the_suffix_of_its_target(tmp_path):
    move(tmp_path, "best", "4.weights.h5")
    assert others(tmp_path) == ["best.weights.h5"]
    assert os.readlink(tmp_path / "best.weights.h5") == "4.weights.h5"


def test_a_checkpoint_without_a_suffix_gets_a_link_without_one(tmp_path):
    move_alias(tmp_path, "best", "step=1", ("step=1", "2.ckpt"))
    assert read_alias(tmp_path, "best", ("step=1",)) == "step=1"
    move_alias(tmp_path, "best", "2.ckpt", ("step=1", "2.ckpt"))
    assert others(tmp_path) == ["best.ckpt"]


def test_without_links_a_pointer_holds_the_name(dirpath, monkeypatch):
    move(dirpath, "best", "1.ckpt")

    def symlink(*arguments, **options):
        raise OSError("not supported")

    monkeypatch.setattr(os, "symlink", symlink)
    move(dirpath, "best", "2.ckpt")  # the directory came from a file system with links
    assert others(dirpath) == ["best.pointer"]
    assert (dirpath / "best.pointer").read_text() == "2.ckpt"


def test_there_is_no_moment_without_the_alias(dirpath, monkeypatch):
    move(dirpath, "best", "1.ckpt")
    seen = []

    def watched(real):
        def call(*arguments, **options):
            seen.append(read_alias(dirpath, "best", OURS))
            result = real(*arguments, **options)
            seen.append(read_alias(dirpath, "best", OURS))
            return result

        return call

    for place, name in ((os, "replace"), (os, "symlink"), (os, "unlink"), (Path, "unlink"), (Path, "write_text")):
        monkeypatch.setattr(place, name, watched(getattr(place, name)))
    for file in ("2.ckpt", "3.keras", "3.keras", "1.ckpt"):
        before = read_alias(dirpath, "best", OURS)
        seen.clear()
        move(dirpath, "best", file)
        assert set(seen) <= {before, file}


def test_a_failed_move_leaves_the_old_alias(dirpath, monkeypatch):
    move(dirpath, "best", "1.ckpt")

    def replace(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="No space"):
            move(dirpath, "best", "3.keras")
    assert read_alias(dirpath, "best", OURS) == "1.ckpt"
    move(dirpath, "best", "3.keras")
    assert read_alias(dirpath, "best", OURS) == "3.keras"
    assert len(others(dirpath)) == 1


def test_a_move_that_changes_nothing_writes_nothing(dirpath, monkeypatch):
    move(dirpath, "best", "1.ckpt")

    def replace(*arguments):
        raise AssertionError

    monkeypatch.setattr(os, "replace", replace)
    move(dirpath, "best", "1.ckpt")


@pytest.mark.parametrize("kind", ["file", "folder", "link elsewhere", "dangling link"])
def test_what_somebody_else_put_there_is_left_alone(tmp_path, kind):
    place = tmp_path / "last.ckpt"
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        (tmp_path / "other").write_text("mine")
        place.symlink_to("other" if kind == "link elsewhere" else "gone")
    before = place.lstat()
    for file in ("1.ckpt", "2.ckpt", None, "3.keras", "1.ckpt"):
        move(tmp_path, "last", file)
        assert place.lstat() == before
    assert read_alias(tmp_path, "last", OURS) is None


def test_names_that_only_begin_alike_are_left_alone(dirpath):
    (dirpath / "last.txt").write_text("notes")
    (dirpath / "lasting.ckpt").write_text("x")
    move(dirpath, "last", "1.ckpt")
    move(dirpath, "last", None)
    assert others(dirpath) == ["last.txt", "lasting.ckpt"]


def test_of_two_links_the_newer_one_counts(tmp_path):
    for at, (name, file) in enumerate({"best.keras": "3.keras", "best.ckpt": "1.ckpt"}.items()):
        (tmp_path / name).symlink_to(file)
        os.utime(tmp_path / name, (at, at), follow_symlinks=False)
    assert read_alias(tmp_path, "best", OURS) == "1.ckpt"
    move(tmp_path, "best", "3.keras")
    assert others(tmp_path) == ["best.keras"]


def test_a_pointer_that_makes_no_sense_is_none(tmp_path):
    for content in (b"", b"\xff\xfe", b"../../etc/passwd"):
        (tmp_path / "best.pointer").write_bytes(content)
        assert read_alias(tmp_path, "best", OURS) is None
