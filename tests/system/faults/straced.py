"""Faults by strace in system calls that libraries make from C, without Python."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.faults.inject import Call, interposed
from tests.system.faults.trainings import do

WRITING = ("write", "pwrite64", "writev", "fsync", "ftruncate")


@pytest.fixture(scope="session", autouse=True)
def strace():
    """Skip the test if strace is missing, or may not trace another process."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        tracer = _attach(child.pid, [])
        child.kill()
        _end(tracer)
    except (OSError, RuntimeError) as error:
        pytest.skip(f"strace cannot be used here: {error}")
    finally:
        child.kill()
        child.wait()


def straced(dirpath: Path, options: list[str], work: Callable[[], Any], save: int = 2) -> tuple[int, str]:
    """Do ``work``, a training run, in a fork; from the given save on, strace watches the calls on the staged file.

    Returns:
        The wait status of the fork, and what ``work`` raised, in one line.
    """
    said = Path(tempfile.mkdtemp(prefix="faults-"), "said")
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def stop_ahead(call: Call) -> None:
            nonlocal seen
            if call.name == "unlink" and "/staging/" in call.path:  # the first step of each save, with the same path
                seen += 1
                if seen == save:
                    os.write(writes, call.path.encode())
                    # To this thread, which would otherwise continue until another one has stopped the process.
                    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

        def watched() -> None:
            with interposed(dirpath, stop_ahead):
                work()

        do(watched, said)
    os.close(writes)
    path = os.read(reads, 4096).decode()
    os.close(reads)
    os.waitpid(child, os.WUNTRACED)
    tracer = _attach(child, ["-P", path, *options])
    os.kill(child, signal.SIGCONT)
    status = os.waitpid(child, 0)[1]
    _end(tracer)
    text = said.read_text() if said.exists() else ""
    shutil.rmtree(said.parent)
    return status, text


def counted(dirpath: Path, work: Callable[[], Any]) -> Counter[str]:
    """Return the number of calls of each kind that write the staged file of one save."""
    with tempfile.NamedTemporaryFile("r") as log:
        assert straced(dirpath, ["-o", log.name, "-e", f"trace={','.join(WRITING)}"], work) == (0, "")
        found = Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read(), re.MULTILINE))
    assert found, "nothing was seen to be written"
    return found


def _end(tracer: subprocess.Popen[str]) -> None:
    """Wait for the end of strace, and close its output."""
    tracer.communicate()


def _attach(process: int, options: list[str]) -> subprocess.Popen[str]:
    """Attach strace to a stopped process.

    Raises:
        OSError: there is no strace. RuntimeError: it may not.
    """
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(process), *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    for line in tracer.stderr:
        if "attached" in line:
            return tracer
        if "ptrace" in line:
            break
    tracer.kill()
    _end(tracer)
    raise RuntimeError(line.strip())
