"""Files and folders that somebody else puts under a checkpoint's name: no retention rule deletes them."""

import os
import shutil

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, Policy, Status
from ckpt_callbacks.store import digest
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.content import NumberedContent
from tests.support.training import new_run, report, start

POLICY = Policy(Every(epochs=1), KeepLast(1))


def begin(dirpath):
    run = new_run(dirpath, POLICY, background=False, filename="{epoch}")
    run.open()
    start(run)
    return run


def save(run, epoch, folder=False):
    report(
        run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True, stage=lambda _: NumberedContent(epoch, folder)
    )
    return run.view.last().path


def another_file(path):
    """As ``cp --preserve`` does, with another content of the same size."""
    found = path.stat()
    os.rename(path, path.parent / "moved away")
    path.write_bytes(b"x" * found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def other_bytes(path):
    found = path.stat()
    while path.stat().st_ctime_ns == found.st_ctime_ns:  # its clock has ticks of a few milliseconds
        path.write_bytes(b"x" * found.st_size)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def a_folder(path):
    path.unlink()
    path.mkdir()
    (path / "notes").write_text("mine")


def a_link(path):
    path.unlink()
    (path.parent / "notes").write_text("mine")
    path.symlink_to("notes")


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def one_more_in_it(path):
    (path / "notes").write_text("mine")


def a_file(path):
    shutil.rmtree(path)
    path.write_text("mine")


def entry(path):
    found = os.lstat(path)
    return found.st_ino, found.st_mtime_ns, sorted(os.listdir(path)) if path.is_dir() else None


@pytest.mark.parametrize("known", ["recorded", "read"])
@pytest.mark.parametrize("replace", [another_file, other_bytes, a_folder, a_link, a_pipe, one_more_in_it, a_file])
def test_what_has_taken_the_name_of_a_checkpoint_stays(tmp_path, caplog, replace, known):
    folder = replace in (one_more_in_it, a_file)
    run = begin(tmp_path)
    old = save(run, 1, folder)
    if known == "read":  # as in a directory of an earlier version
        run.directory.manifest.change(1, identity="")
    replace(old)
    before = entry(old)
    save(run, 2, folder)
    assert entry(old) == before
    assert [r.status for r in run.directory.manifest.records.values()] == [Status.DELETED, Status.VERIFIED]
    [line] = [message for message in caplog.messages if "is not deleted" in message]
    assert line.startswith(str(old)) and "\n" not in line
    save(run, 3, folder)
    run.close()
    for _ in range(2):
        again = new_run(tmp_path, POLICY)
        again.open()
        again.close()
        assert ckpt("doctor", tmp_path).stdout == f"{tmp_path}: nothing is wrong\n"
    assert entry(old) == before and len([m for m in caplog.messages if str(old) in m]) == 1


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_ours_is_deleted_and_read_only_if_it_was_copied(tmp_path, monkeypatch, folder, known):
    run, read = begin(tmp_path), []
    old = save(run, 1, folder)
    if not known:  # every copied file has another identity
        run.directory.manifest.change(1, identity="of the original")
    opened = digest._open
    monkeypatch.setattr(digest, "_open", lambda name, flags: read.append(str(name)) or opened(name, flags))
    save(run, 2, folder)
    run.close()
    assert not old.exists()
    assert any(name.startswith(str(old)) for name in read) is not known


def test_rm_leaves_what_has_taken_the_name(tmp_path):
    run = begin(tmp_path)
    other_bytes(path := save(run, 1))
    run.close()
    shown = ckpt("rm", "--force", tmp_path, "1")
    assert shown.exit_code == 2 and "it no longer counts, and was not deleted" in shown.stderr
    assert path.exists() and Manifest.read(tmp_path).records[1].status is Status.DELETED
