"""Lock files that processes hold, for the tests of locks."""

import subprocess
import sys

from ckpt_callbacks.store.lock import TrainingLock
from tests.support.processes import ENVIRONMENT

HOLDER = """
import os, sys, time
from pathlib import Path
from ckpt_callbacks.store.layout import Layout
from ckpt_callbacks.store.lock import FileLock, TrainingLock

layout = Layout(Path(sys.argv[1]))
if sys.argv[2] != "journal":
    TrainingLock(layout.training_lock, layout.owner, sys.argv[2]).acquire()
else:
    lock = FileLock(layout.journal_lock)
    lock.try_acquire()
forks = sys.argv[3] == "forks"
if not forks or not os.fork():
    print(os.getpid() if forks else 0, flush=True)  # in the child, once it lives
time.sleep(60)
"""


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
