"""The processes that run rows: one for each engine, in parallel, each of which forks its own training runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.processes import ENVIRONMENT
from tests.system.soak.harness import Outcome

HERE = Path(__file__).parent
SEED = 1


class Engines:
    """A context in which the rows run.

    Args:
        wanted: For each engine the names of rows, each with its number of runs, in the order in which they are run.
    """

    def __init__(self, wanted: Mapping[str, Sequence[tuple[str, int]]]) -> None:
        self._wanted = wanted
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._errors: dict[str, Any] = {}
        self._said: dict[tuple[str, str], dict[str, Any]] = {}

    def __enter__(self) -> Engines:
        for engine, rows in self._wanted.items():
            command = [sys.executable, HERE / "serve.py", engine, str(SEED)]
            command += [str(item) for row in rows for item in row]
            self._errors[engine] = tempfile.TemporaryFile("w+")
            self._processes[engine] = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=self._errors[engine], text=True
            )
        return self

    def outcome(self, row: str, engine: str) -> Outcome:
        """Wait until the engine has run the row, and return the outcome.

        Raises:
            RuntimeError: A training run, or the engine itself, ended with an error.
        """
        while (row, engine) not in self._said:
            line = self._processes[engine].stdout.readline()
            if not line:
                self._errors[engine].seek(0)
                raise RuntimeError(f"{engine} ended before {row}\n{self._errors[engine].read()[-3000:]}")
            if line.startswith("{"):
                said = json.loads(line)
                self._said[said["row"], engine] = said
        said = self._said[row, engine]
        if "error" in said:
            raise RuntimeError(said["error"])
        return Outcome(**said)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine, process in self._processes.items():
            process.terminate()  # it has run all rows, unless a test was interrupted
            process.wait()
            process.stdout.close()
            self._errors[engine].close()
