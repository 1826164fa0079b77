"""Locks: one training run in a directory, and no lock that outlives its process."""

import errno
import fcntl
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ckpt_callbacks import DirectoryInUse, StoreError
from ckpt_callbacks.store.file_lock_calls import is_locked
from ckpt_callbacks.store.layout import Layout
from ckpt_callbacks.store.lock import FileLock, TrainingLock, reclaim
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import record
from tests.support.processes import ENVIRONMENT
from tests.support.waiting import until

HOLDER = """
import os, sys, time
from pathlib import Path
from ckpt_callbacks.store.layout import Layout
from ckpt_callbacks.store.lock import FileLock, TrainingLock

layout = Layout(Path(sys.argv[1]))
if sys.argv[2] == "training":
    TrainingLock(layout.training_lock, layout.owner, "Other").acquire()
else:
    lock = FileLock(layout.journal_lock)
    lock.try_acquire()
forks = sys.argv[3] == "forks"
if not forks or not os.fork():
    print(os.getpid() if forks else 0, flush=True)  # in the child, once it lives
time.sleep(60)
"""


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    layout.private.mkdir()
    return layout


@pytest.fixture
def hold(layout):
    """Start a process that holds a lock; returns it, and the id of its forked child."""
    pids, processes = [], []

    def start(kind, forks="alone"):
        command = [sys.executable, "-c", HOLDER, str(layout.dirpath), kind, forks]
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)
        processes.append(process)
        pids.append(process.pid)
        child = int(process.stdout.readline())
        pids.extend([child] if child else [])
        return process, child

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for process in processes:
        process.wait()
        process.stdout.close()


def is_free(path):
    """Whether another process gets the lock."""
    code = """
import sys
from pathlib import Path
from ckpt_callbacks.store.lock import FileLock
sys.exit(not FileLock(Path(sys.argv[1])).try_acquire())
"""
    return subprocess.run([sys.executable, "-c", code, path], env=ENVIRONMENT).returncode == 0


def training_lock(layout, holder="Ours"):
    return TrainingLock(layout.training_lock, layout.owner, holder)


def test_a_second_run_is_refused_with_the_first_ones_host_and_process(layout, hold):
    process, _ = hold("training")
    with pytest.raises(DirectoryInUse) as caught:
        training_lock(layout).acquire()
    assert str(caught.value) == (
        f"{layout.dirpath}: another training run is writing here (host {socket.gethostname()}, process {process.pid}); "
        "wait until it has ended, or choose another directory"
    )


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


def hold_as_earlier_versions_did(path):
    """Hold a POSIX record lock in another process until it is closed."""
    code = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


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
