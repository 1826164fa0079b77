"""Generated scripts: each is trained once without a kill, and once killed with -9 and started again."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.generated.script import Choices, Script, draw
from tests.system.soak.attempt import redirect

Training = Callable[[Script, Path, int | None], dict[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """What became of one script.

    Attributes:
        script: The script.
        differs: The facts in which the resumed run differs from the uninterrupted one.
        told: The warnings of the killed and of the resumed run.
        error: What a run raised; None if all runs succeeded.
    """

    script: Script
    differs: tuple[str, ...]
    told: tuple[str, ...]
    error: str | None = None

    @property
    def is_identical(self) -> bool:
        return self.error is None and not self.differs

    @property
    def was_told(self) -> bool:
        """True if a warning says that a resume may differ, or that there is nothing to resume from."""
        return self.error is None and any("may not replay" in line or "may differ" in line for line in self.told)

    def __str__(self) -> str:
        outcome = self.error or f"other {', '.join(self.differs)}; told {list(self.told)}"
        return f"{self.script}: {outcome}"


def judge(seed: int, choices: Choices, training: Training) -> Verdict:
    """Train the script of this seed, killed and not, in forks of this process."""
    script = draw(seed, choices)
    folder = Path(tempfile.mkdtemp(prefix="generated-"))
    try:
        whole, _ = _train(training, script, folder / "whole", None)
        nothing, first = _train(training, script, folder / "run", script.kill)
        assert nothing is None, "it ended before the kill"
        resumed, second = _train(training, script, folder / "run", None)
    except Exception as error:
        return Verdict(script, (), (), f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder)
    assert whole is not None and resumed is not None
    return Verdict(script, tuple(name for name in whole if whole[name] != resumed[name]), (*first, *second))


def _train(
    training: Training, script: Script, dirpath: Path, kill: int | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the facts at the end, or None if the run was killed, and its warnings.

    Raises:
        RuntimeError: It ended with an error.
    """
    found = dirpath.with_name("found")
    log = dirpath.with_name("log")
    for path in (found, log):
        path.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        status = 70
        try:
            redirect(log)
            logging.getLogger("ckpt_callbacks").addHandler(_Warnings(log))
            found.write_text(json.dumps(training(script, dirpath, kill)))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = log.read_text(errors="replace")
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"exit status {status}\n{text[-700:]}")
    told = [line.removeprefix(_Warnings.mark) for line in text.splitlines() if line.startswith(_Warnings.mark)]
    return (json.loads(found.read_text()) if status == 0 else None), told


class _Warnings(logging.Handler):
    """Writes the warnings of this package into the log."""

    mark = "<warning> "

    def __init__(self, log: Path) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        with self._log.open("a") as file:
            file.write(f"{self.mark}{record.getMessage()}\n")


def serve(first: int, last: int, choices: Choices, training: Training) -> Iterator[Verdict]:
    """Yield the verdicts of the seeds from ``first`` up to, but not including, ``last``."""
    for seed in range(first, last):
        yield judge(seed, choices, training)
