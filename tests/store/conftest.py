"""Fixtures of the store's tests."""

import os
import signal
import subprocess
import sys

import pytest

from ckpt_callbacks.store.layout import Layout
from tests.store.locks import HOLDER
from tests.support.processes import ENVIRONMENT


@pytest.fixture
def no_flush(monkeypatch):
    """Skip flushes in tests with thousands of appends, which would spend most of their time on the device."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


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
