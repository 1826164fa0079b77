"""One start of a training run, in forked processes that may be killed with -9."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.faults.inject import Call, interposed, kill_before

LIMIT = 120.0  # seconds that a start may take on a busy machine
MOURNING = 2.0  # seconds in which the other processes must notice that one of them is gone
POLL = 0.01  # seconds


class Say:
    """The messages of a training process to the process that forked it.

    Attributes:
        rank: The rank of this process.
        port: A free port at which the ranks meet.
    """

    def __init__(self, pipe: int, rank: int, port: int) -> None:
        self._pipe, self.rank, self.port = pipe, rank, port

    def begun(self) -> None:
        """Report that training begins."""
        self._write({"begun": self.rank})

    def done(self, **facts: Any) -> None:
        """Report that training has ended, with these facts."""
        self._write({"rank": self.rank, "facts": facts})

    def calls(self, number: int) -> None:
        """Report the number of calls below the run directory."""
        self._write({"calls": number})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._pipe, json.dumps(line).encode() + b"\n")  # short enough to arrive in one piece


Training = Callable[[Path, Say], None]


@dataclass(frozen=True)
class Kill:
    """One kill with -9.

    Attributes:
        victim: The process that is killed; the others follow.
        after: Seconds from the beginning of training; None if ``call`` is given.
        call: The call below the run directory before which it dies.
    """

    victim: int
    after: float | None = None
    call: int | None = None

    def __str__(self) -> str:
        moment = f"{self.after:.3f} s after training began" if self.call is None else f"ahead of call {self.call}"
        return f"process {self.victim} killed {moment}"


@dataclass
class Attempt:
    """The outcome of one start of a training run.

    Attributes:
        facts: The facts of all processes at the end of training, by rank.
        killed: Whether the run was killed before its end.
        seconds: Seconds from the beginning of training to its end.
        calls: The number of calls below the run directory, in a start without a kill.
    """

    facts: dict[int, dict[str, Any]] = field(default_factory=dict)
    killed: bool = False
    seconds: float = 0.0
    calls: int = 0


def attempt(training: Training, dirpath: Path, processes: int = 1, kill: Kill | None = None) -> Attempt:
    """Start the training run, kill it at the given time or call, and wait for its end.

    Raises:
        RuntimeError: It ended with an error, or not within `LIMIT`.
    """
    dirpath.mkdir(parents=True, exist_ok=True)
    log = dirpath.with_name(f"{dirpath.name}.log")
    reader, writer = os.pipe()
    port = _free_port()
    children = [_Child(training, dirpath, Say(writer, rank, port), kill, log) for rank in range(processes)]
    os.close(writer)
    try:
        found = _watch(children, reader, kill, log)
    finally:
        os.close(reader)
        for child in children:
            child.kill()
    found.killed = len(found.facts) < processes
    if found.killed and not any(child.status == signal.SIGKILL for child in children):
        raise RuntimeError(f"the training ended with an error\n{_tail(log)}")
    return found


def _watch(children: list[_Child], reader: int, kill: Kill | None, log: Path) -> Attempt:
    found, unread = Attempt(), b""
    began, moment, bereaved = time.monotonic(), math.inf, math.inf
    limit = began + LIMIT
    while True:
        now = time.monotonic()
        if now >= limit:
            raise RuntimeError(f"the training did not end within {LIMIT:.0f} s\n{_tail(log)}")
        if now >= moment:
            children[kill.victim].kill()
            moment = math.inf
        if now >= bereaved + MOURNING:
            for child in children:
                child.kill()
        if select.select([reader], [], [], max(0.0, min(POLL, moment - now)))[0]:
            chunk = os.read(reader, 1 << 16)
            if not chunk:  # all of them are gone
                found.seconds = time.monotonic() - began
                return found
            *lines, unread = (unread + chunk).split(b"\n")
            for line in map(json.loads, lines):
                if line.get("begun") == 0:
                    began = time.monotonic()
                    if kill is not None and kill.after is not None:
                        moment = began + kill.after
                elif "facts" in line:
                    found.facts[line["rank"]] = line["facts"]
                found.calls = line.get("calls", found.calls)
        if bereaved == math.inf and any(child.failed() for child in children):
            bereaved = now


class _Child:
    """A fork that trains.

    Attributes:
        status: The status that `os.waitpid` returned; None while the child lives.
    """

    def __init__(self, training: Training, dirpath: Path, say: Say, kill: Kill | None, log: Path) -> None:
        self.status: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            status = 70
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                redirect(log)
                _train(training, dirpath, say, kill)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)

    def failed(self) -> bool:
        """Whether it is gone, and did not reach its end."""
        if self.status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status not in (None, 0)

    def kill(self) -> None:
        """Kill it with -9, unless it is gone already."""
        if self.status is None:
            os.kill(self._pid, signal.SIGKILL)
            self.status = os.waitpid(self._pid, 0)[1]


def _train(training: Training, dirpath: Path, say: Say, kill: Kill | None) -> None:
    calls: list[Call] = []
    if kill is not None and kill.call is not None and kill.victim == say.rank:
        before = kill_before(kill.call)
    elif kill is None and say.rank == 0:
        before = calls.append
    else:
        training(dirpath, say)
        return
    with interposed(dirpath, before):
        training(dirpath, say)
    say.calls(len(calls))


def redirect(log: Path) -> None:
    """Make this process append all of its output to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
