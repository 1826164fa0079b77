"""Pipes, devices, sockets, folders and links under our private names: nothing waits for them or writes through them."""

import os
import signal
import socket

import pytest

from ckpt_callbacks import EventKind, Every, KeepAll, Policy, StoreError
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.training import look_for_requests_at_once, new_run, report, start

POLICY = Policy(Every(epochs=1), KeepAll())
FILES = ("manifest.jsonl", "history.jsonl", "manifest.lock", "training.lock", "owner.json")


def pipe(path, tmp_path):
    os.mkfifo(path)


def device(path, tmp_path):
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        pytest.skip("only root makes devices")


def unix_socket(path, tmp_path):
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def folder(path, tmp_path):
    path.mkdir()


def file(path, tmp_path):
    path.write_text("a stranger's")


def link(path, tmp_path):
    path.symlink_to(tmp_path / "stranger's")


def link_to_device(path, tmp_path):
    path.symlink_to("/dev/zero")


FOUND = {pipe: "a named pipe", device: "a device", unix_socket: "a socket", folder: "a folder", link: "a symbolic link",
         link_to_device: "a symbolic link", file: "a regular file"}  # fmt: skip
slow = pytest.mark.slow
CASES = [(name, kind) for kind in FOUND for name in FILES if kind is not file]
CASES += [(name, kind) for name in ("staging", "") for kind in (file, pipe, link)]


@pytest.fixture(autouse=True)
def alarmed():
    """Interrupt what waits."""

    def late(number, frame):
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def strangers(tmp_path):
    """A file, and a folder that has one, which links lead to."""
    (tmp_path / "stranger's").write_text("precious")
    return tmp_path / "stranger's"


def train(dirpath, epochs, *, first=1):
    run = new_run(dirpath, POLICY, background=False)
    run.open()
    start(run)
    for epoch in range(first, epochs + 1):
        report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True)
    run.close()
    return run


@pytest.mark.parametrize(
    "name, kind",
    [pytest.param(*case, marks=[] if case in CASES[::5] else slow, id=f"{case[0]}-{case[1].__name__}")
     for case in CASES],
)  # fmt: skip
def test_what_stands_under_a_private_name_is_named_and_moved_away(tmp_path, strangers, name, kind):
    dirpath = tmp_path / "run"
    train(dirpath, 2)
    path = dirpath / ".run" / name
    os.rename(path, tmp_path / "ours") if path.exists() else None
    kind(path, tmp_path)
    line = f"{path}: is {FOUND[kind]}; expected a {'regular file' if name in FILES else 'folder'}"
    for command in ("ls", "verify"):
        shown = ckpt(command, dirpath)
        if name in ("manifest.jsonl", ""):
            assert (shown.exit_code, len(shown.stderr.splitlines())) == (2, 1)
            assert str(path) in shown.stderr
        else:
            assert shown.exit_code == 0
    with pytest.raises(StoreError) as caught:
        train(dirpath, 3, first=3)
    assert str(caught.value).startswith(line) and f"ckpt doctor {dirpath}" in str(caught.value)
    assert ckpt("doctor", "--dry-run", dirpath).stdout.splitlines()[0].startswith(line)
    assert f"renamed to {path.name}.damaged" in ckpt("doctor", dirpath).stdout
    if name != "" and name != "manifest.jsonl":  # these checkpoints contain no record to rebuild a manifest from
        train(dirpath, 3, first=3)
        assert {r.epoch for r in Manifest.read(dirpath).live()} == {1, 2, 3}
        assert ckpt("doctor", "--dry-run", dirpath).exit_code == 0
    assert strangers.read_text() == "precious"


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_written_through_a_link_that_was_made_beforehand(tmp_path, strangers, name):
    path = tmp_path / "run" / ".run" / name
    path.parent.mkdir(parents=True)
    link(path, tmp_path)
    refused = None
    try:
        train(tmp_path / "run", 2)
    except StoreError as error:
        refused = error
    assert strangers.read_text() == "precious"
    assert str(refused).startswith(f"{path}: is a symbolic link; expected a regular file")


@pytest.mark.parametrize("kind", [pipe, device, unix_socket, folder, link, link_to_device])
def test_a_pointer_of_somebody_else_is_left_alone(tmp_path, strangers, kind):
    dirpath = tmp_path / "run"
    train(dirpath, 2)
    kind(path := dirpath / "best.pointer", tmp_path)
    before = os.lstat(path)
    for command in ("ls", "verify", "doctor"):
        assert ckpt(command, dirpath).exit_code == 0
    train(dirpath, 3, first=3)
    assert os.lstat(path) == before and strangers.read_text() == "precious"


@pytest.mark.parametrize("name, kind", [("staging", file), ("manifest.jsonl", pipe)])
def test_what_appears_during_training_fails_a_save_in_one_line(tmp_path, caplog, name, kind):
    run = new_run(tmp_path / "run", POLICY, background=False)
    run.open()
    start(run)
    path = run.dirpath / ".run" / name
    os.rename(path, tmp_path / "ours") if path.exists() else None
    kind(path, tmp_path)
    report(run, EventKind.EPOCH_END, step=1, epoch=1, complete=True)
    assert f"{path}: is {FOUND[kind]}; expected" in caplog.text
    path.unlink()
    os.rename(tmp_path / "ours", path) if (tmp_path / "ours").exists() else None
    report(run, EventKind.EPOCH_END, step=2, epoch=2, complete=True)
    assert [r.epoch for r in run.view.records()] == [2]
    run.close()


@pytest.mark.parametrize("kind", [device, unix_socket, link_to_device])
def test_a_save_is_not_asked_for_through_something_else(tmp_path, strangers, kind):
    run = new_run(tmp_path / "run", POLICY, background=False)
    run.open()
    start(run)
    kind(request := run.dirpath / "SAVE_NOW", tmp_path)
    before = strangers.stat()
    shown = ckpt("save", run.dirpath)
    assert shown.exit_code == 2
    assert shown.stderr.splitlines() == [f"Error: {request}: is {FOUND[kind]}; expected a regular file; move it away"]
    look_for_requests_at_once(run)
    report(run, EventKind.STEP_END, step=1, epoch=0)  # people made it, so it asks for a save
    assert [r.step for r in run.view.records()] == [1]
    assert strangers.stat() == before
    run.close()
