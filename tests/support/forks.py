"""Scripts in forks of a process that has imported a framework.

To import Lightning or Keras takes five seconds, longer than most of these scripts run. The parent only imports, so that
each fork starts as a fresh process would: ``python -m tests.support.forks SOCKET MODULE``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import ENVIRONMENT, ROOT

LONGEST = 1 << 17  # bytes of a request, most of them the environment
FRAMEWORKS = "tests.support.frameworks"


class Fork:
    """A script that runs in a fork; the part of `subprocess.Popen` that the tests use."""

    def __init__(self, forks: Forks, pid: int, output: int) -> None:
        self._forks, self.pid = forks, pid
        self.stdout = os.fdopen(output)

    def poll(self) -> int | None:
        """Return the exit code, negative after a signal, or None while the script runs."""
        return self._forks.exit_code(self.pid, 0)

    def wait(self, timeout: float = 120) -> int:
        """Wait for the end and return the exit code."""
        code = self._forks.exit_code(self.pid, timeout)
        if code is None:
            raise TimeoutError(f"the script still runs after {timeout} s")
        self.stdout.close()
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and the news is on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """Starts scripts in forks of one process, which starts with the first of them."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.forks", str(there.fileno()), module]
        self._parent = subprocess.Popen(
            command, cwd=ROOT, env={**ENVIRONMENT, **environment}, pass_fds=[there.fileno()]
        )
        there.close()
        self._socket, self._environment, self._codes = here, environment, {}
        atexit.register(self._close)

    def start(self, script: object, *arguments: object) -> Fork:
        """Start ``script``; its standard output is in `Fork.stdout`."""
        return self._start([script, *arguments], ROOT)

    def run(self, script: object, *arguments: object) -> str:
        """Run ``script``, which must succeed; return what it prints."""
        done = self.complete(script, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        return done.stdout

    def complete(self, script: object, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run ``script`` in ``cwd``; return what it prints on both streams, and its exit code."""
        with tempfile.TemporaryFile("w+") as errors:
            fork = self._start([script, *arguments], cwd, errors.fileno())
            printed = fork.stdout.read()
            code = fork.wait()
            errors.seek(0)
            return subprocess.CompletedProcess(script, code, printed, errors.read())

    def complete_code(self, code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a script that is given as text, and is written to ``cwd`` first."""
        script = cwd / "script.py"
        script.write_text(code)
        return self.complete(script, *arguments, cwd=cwd)

    def _start(self, command: Sequence[object], cwd: Path, *errors: int) -> Fork:
        reading, writing = os.pipe()
        request = {
            "command": [str(word) for word in command],
            "environment": {**ENVIRONMENT, **self._environment},
            "cwd": str(cwd),
        }
        socket.send_fds(self._socket, [json.dumps(request).encode()], [writing, *errors])
        os.close(writing)
        return Fork(self, self._answer("started", 120)["started"], reading)

    def exit_code(self, pid: int, timeout: float) -> int | None:
        """Return the exit code of a fork, or None if it still runs after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while pid not in self._codes and self._answer("ended", end - time.monotonic()):
            continue
        return self._codes.get(pid)

    def _answer(self, kind: str, timeout: float) -> dict[str, Any]:
        """Return the next message of this kind, or nothing if none came in time."""
        end = time.monotonic() + timeout
        while select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
            message = json.loads(self._socket.recv(LONGEST) or b'{"gone": true}')
            assert "gone" not in message, "the parent of the forks has ended"
            if "ended" in message:
                self._codes[message["ended"]] = message["code"]
            if kind in message:
                return message
        return {}

    def _close(self) -> None:
        self._socket.close()
        self._parent.wait()


@functools.cache
def forks_of(module: str = FRAMEWORKS, **environment: str) -> Forks:
    """Return the forks of a process that has imported ``module``; the tests of one process share them."""
    return Forks(module, environment)


# -- the parent --------------------------------------------------------------------------------------------------------


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each request; return in a fork, with its request."""
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: set[int] = set()
    while True:
        ready = select.select([connection, awake], [], [])[0]
        if awake in ready:
            os.read(awake, 4096)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    running.remove(pid)
                    connection.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
        if connection in ready:
            message, descriptors, *_ = socket.recv_fds(connection, LONGEST, 2)
            if not message:  # the tests have ended
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                sys.exit()
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor, stream in zip(descriptors, (1, 2), strict=False):
                    os.dup2(descriptor, stream)
                for descriptor in (*descriptors, awake, wake):
                    os.close(descriptor)
                connection.close()
                return json.loads(message)
            for descriptor in descriptors:
                os.close(descriptor)
            running.add(pid)
            connection.send(json.dumps({"started": pid}).encode())


def forget_random_states() -> None:
    """Draw random numbers that differ from those of other forks, as in fresh processes."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


if __name__ == "__main__":
    importlib.import_module(sys.argv[2])
    gc.collect()
    gc.freeze()  # else each fork would look through all of the framework as it ends: two seconds
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    forget_random_states()
    sys.argv = request["command"]
    runpy.run_path(sys.argv[0], run_name="__main__")
