"""Locks: one training run in a directory, and no lock that outlives its process."""

import os
import resource
import socket
import threading

import pytest

from ckpt_callbacks import DirectoryInUse
from ckpt_callbacks.store import lock as lock_module
from ckpt_callbacks.store.layout import Layout
from tests.store.locks import is_free, training_lock


def test_a_second_run_is_refused_with_the_first_ones_host_and_process(layout, hold):
    process, _ = hold("training")
    with pytest.raises(DirectoryInUse) as caught:
        training_lock(layout).acquire()
    assert str(caught.value) == (
        f"{layout.dirpath}: another training run is writing here (host {socket.gethostname()}, process {process.pid}); "
        "wait until it has ended, or choose another directory"
    )


def test_a_command_is_waited_for_and_named_if_it_takes_long(layout, hold, monkeypatch):
    process, _ = hold("ckpt doctor")
    monkeypatch.setattr(lock_module, "_PATIENCE", 0.1)
    with pytest.raises(DirectoryInUse) as caught:
        training_lock(layout).acquire()
    assert str(caught.value) == (
        f"{layout.dirpath}: `ckpt doctor` is at work here (host {socket.gethostname()}, process {process.pid}); "
        "wait until it has ended, or choose another directory"
    )
    monkeypatch.setattr(lock_module, "_PATIENCE", 30)
    threading.Timer(0.1, process.kill).start()
    lock = training_lock(layout)
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("owner", [None, "", "{", "[]", '{"pid": 1}', b"\xff"])
def test_a_second_run_is_refused_if_the_holder_is_unknown(layout, hold, owner):
    hold("training")
    if owner is None:
        layout.owner.unlink()
    else:
        layout.owner.write_bytes(owner if isinstance(owner, bytes) else owner.encode())
    with pytest.raises(DirectoryInUse, match="host and process unknown"):
        training_lock(layout).acquire()


def test_the_lock_dies_with_its_process_though_a_forked_child_lives_on(layout, hold):
    process, child = hold("training", "forks")
    with pytest.raises(DirectoryInUse):
        training_lock(layout).acquire()
    process.kill()
    process.wait()
    os.kill(child, 0)  # it is still there, with the lock file open
    lock = training_lock(layout)
    lock.acquire()
    lock.release()


def test_a_forked_child_that_ends_takes_no_lock_with_it(layout):
    lock = training_lock(layout)
    lock.acquire()
    child = os.fork()
    if not child:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_free(layout.training_lock)
    lock.release()
    assert is_free(layout.training_lock)


def test_a_child_is_refused_what_its_parent_holds_and_gets_it_afterwards(layout):
    lock = training_lock(layout, "Parent")
    lock.acquire()

    def try_in_child():
        child = os.fork()
        if not child:
            try:
                training_lock(layout, "Child").acquire()
            except DirectoryInUse as error:
                os._exit(7 if f"process {os.getppid()}" in str(error) else 8)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert try_in_child() == 7
    assert not is_free(layout.training_lock)
    lock.release()
    assert try_in_child() == 0
    assert is_free(layout.training_lock)


def test_two_holders_in_one_process_are_both_named(layout):
    first, second = training_lock(layout, "LightningCheckpoint"), training_lock(layout, "KerasCheckpoint")
    first.acquire()
    with pytest.raises(DirectoryInUse, match="LightningCheckpoint and KerasCheckpoint in this process"):
        second.acquire()
    second.release()  # of what it does not hold: the first one keeps it
    with pytest.raises(DirectoryInUse, match="LightningCheckpoint and KerasCheckpoint"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_the_same_directory_by_another_name_is_the_same(layout, tmp_path):
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    first, second = training_lock(layout), training_lock(Layout(link))
    first.acquire()
    with pytest.raises(DirectoryInUse, match="in this process"):
        second.acquire()
    first.release()


def test_a_full_disk_on_which_the_owner_file_cannot_be_written_refuses_nobody(layout):
    layout.owner.write_text('{"host": "earlier", "pid": 1}')
    lock, before = training_lock(layout), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        lock.acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not layout.owner.exists()  # rather than naming the wrong one
    lock.release()


def test_a_lock_file_that_cannot_be_opened_leaves_nothing_held(tmp_path):
    lock = training_lock(Layout(tmp_path / "missing"))
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            lock.acquire()
