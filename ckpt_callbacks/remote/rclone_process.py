"""One call of rclone."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import IO, Any

from ..errors import MissingDependency

_PATIENCE = 120.0  # seconds in which it neither takes nor gives a byte; its own time-outs are shorter
_SETTINGS = {
    "RCLONE_ASK_PASSWORD": "false",
    "RCLONE_CONTIMEOUT": "30s",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
    "RCLONE_RETRIES": "1",
    "RCLONE_TIMEOUT": "30s",
    "RCLONE_USE_JSON_LOG": "true",
    "TZ": "UTC",
}


class RcloneFailed(Exception):
    """A call of rclone that did not succeed.

    Attributes:
        code: Its exit status; -1 if it could not be run, or was killed because it hung.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Rclone:
    """The program, and its settings.

    Args:
        options: Flags, such as ``config``. They are passed in the environment, which other users cannot read.

    Raises:
        MissingDependency: It is not installed.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        here = os.path.dirname(sys.executable)
        self._program = shutil.which("rclone", path=f"{here}{os.pathsep}{os.environ.get('PATH', '')}") or ""
        if not self._program:
            raise MissingDependency.of("rclone", "rclone")
        flags = {f"RCLONE_{name.upper().replace('-', '_')}": _text(value) for name, value in options.items()}
        self._environment = {**os.environ, **_SETTINGS, **flags}

    def run(self, *arguments: str, pieces: Iterable[bytes] | None = None) -> bytes:
        """Return what rclone has written.

        Args:
            arguments: The command and its arguments.
            pieces: What it reads.

        Raises:
            RcloneFailed: It says why.
        """
        with tempfile.TemporaryFile() as log:
            process = self._begin(arguments, pieces is not None, log)
            try:
                with suppress(BrokenPipeError):  # its log says why
                    for piece in pieces or ():
                        _feed(process.stdin, piece)
                if process.stdin is not None:
                    with suppress(BrokenPipeError):
                        process.stdin.close()
                written = _all_of(process.stdout)
                code = process.wait(_PATIENCE)
            except (TimeoutError, subprocess.TimeoutExpired):
                raise RcloneFailed(-1, f"rclone did nothing for {_PATIENCE:.0f} s") from None
            finally:
                process.kill()
                process.wait()
                for stream in (process.stdin, process.stdout):
                    with suppress(BrokenPipeError):
                        if stream is not None:
                            stream.close()
            if code:
                raise RcloneFailed(code, _reason(log))
            return written

    def _begin(self, arguments: tuple[str, ...], feed: bool, log: IO[bytes]) -> subprocess.Popen[bytes]:
        # Not in the group of the terminal: Ctrl-C is for the training, which then saves.
        try:
            return subprocess.Popen(
                [self._program, *arguments],
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:  # a missing program would be taken for a missing object
            raise RcloneFailed(-1, f"{self._program} cannot be run: {error.strerror}") from None


def _feed(stream: IO[bytes] | None, data: bytes) -> None:
    assert stream is not None
    os.set_blocking(stream.fileno(), False)
    view = memoryview(data)
    while view:
        _wait(stream, select.POLLOUT)
        with suppress(BlockingIOError):
            view = view[os.write(stream.fileno(), view) :]


def _all_of(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    pieces: list[bytes] = []
    while True:
        _wait(stream, select.POLLIN)
        piece = os.read(stream.fileno(), 1 << 20)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _wait(stream: IO[bytes], event: int) -> None:
    poll = select.poll()
    poll.register(stream, event)
    if not poll.poll(_PATIENCE * 1000):
        raise TimeoutError


def _reason(log: IO[bytes]) -> str:
    """Return the last error of a log, or its last line: some failures are only notices."""
    log.seek(0)
    last = worst = ""
    for line in log.read().decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
            level, text = entry["level"], str(entry["msg"]).strip().splitlines()[0]
        except (ValueError, LookupError, TypeError):
            continue  # the help that follows a wrong flag
        last, worst = text, text if level in ("error", "critical", "fatal") else worst
    return worst or last or "rclone gave no reason"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
