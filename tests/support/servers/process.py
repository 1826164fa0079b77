"""A server in a process of its own, on a free port of loopback."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

ROOT_ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3])}  # for servers that are modules of the tests
_STARTING = 30.0  # seconds


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str) -> str | None:
    """Return the path of a program, also of those that only root has in its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


class Server:
    """A process that listens on a port.

    Args:
        command: What is run.
        port: The port.
        log: The file for its output.
        environment: Added to the environment.
        ready: Called when it listens. While it raises an exception, the server is waited for.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        environment: dict[str, str] | None = None,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        self._command, self._port, self._log, self._ready = list(command), port, log, ready
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        end = time.monotonic() + _STARTING
        while True:
            with suppress(Exception):
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                self._ready()
                return
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self._command[0]} does not answer:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server and what it has started, as a crash of its machine does."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Send a signal to the server and to what it has started: sshd has a process for each connection."""
        assert self._process is not None
        for process in _tree(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, number)


def _tree(root: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found
