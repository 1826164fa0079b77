"""The files of locks: who holds one, whatever else opens, closes or deletes it."""

import errno
import fcntl
import os
import shutil
import signal
import sys
import threading
import time

import pytest

from ckpt_callbacks import DirectoryInUse, StoreError
from ckpt_callbacks.store.file_lock_calls import is_locked
from ckpt_callbacks.store.lock import FileLock, reclaim
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import record
from tests.store.locks import hold_as_earlier_versions_did, is_free, training_lock
from tests.support.waiting import until


def read_and_close(layout):
    layout.training_lock.read_bytes()


def copy_the_directory(layout):
    shutil.copytree(layout.dirpath, layout.dirpath.parent / f"{layout.dirpath.name} copied")


def probe(layout):
    assert is_locked(layout.training_lock)


def copy_in_a_child(layout):
    child = os.fork()
    if not child:
        copy_the_directory(layout)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def close_a_duplicate(layout):
    with open(layout.training_lock, "r+") as file:
        os.close(os.dup(file.fileno()))
        probe(layout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only POSIX record locks")
@pytest.mark.parametrize(
    "how", [read_and_close, copy_the_directory, probe, copy_in_a_child, close_a_duplicate], ids=lambda how: how.__name__
)
def test_closing_the_lock_file_elsewhere_drops_no_lock(layout, how):
    lock, journal = training_lock(layout), FileLock(layout.journal_lock)
    lock.acquire()
    with journal:
        how(layout)
        assert not is_free(layout.training_lock) and is_locked(layout.training_lock)
        assert not is_free(layout.journal_lock)
    assert is_free(layout.journal_lock)
    lock.release()
    assert is_free(layout.training_lock) and not is_locked(layout.training_lock)


def test_nobody_holds_a_lock_file_that_is_missing(layout):
    assert not is_locked(layout.training_lock)
    assert not layout.training_lock.exists()


def test_a_run_of_an_earlier_version_is_noticed(layout):
    with hold_as_earlier_versions_did(layout.training_lock) as earlier:
        assert is_locked(layout.training_lock)
        with pytest.raises(DirectoryInUse, match="another training run is writing here"):
            training_lock(layout).acquire()
        earlier.stdin.close()
        earlier.wait()
    assert not is_locked(layout.training_lock)


def test_a_run_of_an_earlier_version_notices_ours(layout):
    lock = training_lock(layout)
    lock.acquire()
    child = os.fork()
    if not child:
        with open(layout.training_lock, "a") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    lock.release()


def test_a_child_forked_during_a_write_keeps_nothing_locked(layout):
    """A data loader starts its workers while the worker thread appends to the journal."""
    manifest, children, done = Manifest(layout.dirpath), [], threading.Event()

    def write():
        while not done.is_set():
            manifest.put(record(1))

    writer = threading.Thread(target=write)
    writer.start()
    until(layout.journal.exists)
    try:
        for _ in range(20):
            child = os.fork()
            if not child:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    finally:
        done.set()
        writer.join()
    assert is_free(layout.journal_lock), "a child that lives on holds the lock of its parent"
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_posix_locks_serve_where_the_system_has_no_others(layout, monkeypatch, error):
    def refuse(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    lock = training_lock(layout)
    lock.acquire()
    assert not is_free(layout.training_lock)
    lock.release()
    with hold_as_earlier_versions_did(layout.training_lock):
        assert is_locked(layout.training_lock)
        with pytest.raises(DirectoryInUse):
            lock.acquire()
    assert not is_locked(layout.training_lock)


def test_a_short_lock_waits_for_another_process_and_then_gives_up(layout, hold):
    process, _ = hold("journal")
    with pytest.raises(StoreError, match=r"still locked by another process after 0\.2 s"):
        FileLock(layout.journal_lock, timeout=0.2).__enter__()
    threading.Timer(0.1, process.kill).start()
    with FileLock(layout.journal_lock, timeout=10):
        pass
    process.wait()


def test_a_short_lock_excludes_other_threads_that_use_another_object(layout):
    inside = []

    def enter():
        with FileLock(layout.journal_lock):
            inside.append(1)
            time.sleep(0.01)
            assert len(inside) == 1
            inside.clear()

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with FileLock(layout.journal_lock), pytest.raises(StoreError, match=r"another thread after 0\.1 s"):
        FileLock(layout.journal_lock, timeout=0.1).__enter__()


def test_reclaiming_takes_the_new_file_when_the_old_one_was_deleted(layout, hold):
    assert not reclaim(layout.training_lock)
    lock = training_lock(layout)
    lock.acquire()
    assert reclaim(layout.training_lock)
    layout.training_lock.unlink()
    assert reclaim(layout.training_lock)
    assert not is_free(layout.training_lock)
    layout.training_lock.unlink()
    process, _ = hold("training")
    with pytest.raises(DirectoryInUse, match=str(process.pid)):
        reclaim(layout.training_lock)
    process.kill()
    process.wait()
    assert reclaim(layout.training_lock)
    lock.release()
    assert not reclaim(layout.training_lock)
