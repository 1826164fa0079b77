"""Every error that this package raises on purpose, in one tree::

    CkptError
    ├── PolicyError (ValueError)       a policy value that makes no sense
    ├── ConfigError (ValueError)       a YAML file that is wrong; `.problems` lists all of them
    ├── MetricError                    a monitored metric that was never logged
    ├── StoreError
    │   ├── DirectoryInUse             another training holds the directory
    │   ├── CommitError                a checkpoint could not be written or committed
    │   │   └── Busy                   a save that was skipped, because earlier ones were still written
    │   ├── RecoveryError (OSError)        a directory could not be put in order
    │   ├── NotEnoughMemory (MemoryError)  too little is left for a snapshot
    │   └── VerifyError                a file does not match its digest
    │       └── Unreadable             it could not be read, which says nothing of its bytes
    ├── ResumeError                    a checkpoint that cannot be resumed from
    └── MissingDependency (ImportError)   a framework that is not installed

Each message is one line: where, what was received, what was expected, what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence


class CkptError(Exception):
    """Base of all errors of this package."""


class PolicyError(CkptError, ValueError):
    """A policy value that makes no sense, found when it is built."""


class ConfigError(CkptError, ValueError):
    """A configuration file that is wrong. ``problems`` holds one line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class MetricError(CkptError):
    """A metric that the policy monitors, but that the training never logged."""


class StoreError(CkptError):
    """Something about a checkpoint directory or a file in it."""


class DirectoryInUse(StoreError):
    """A live training, or another callback of this process, already writes to the directory."""


class CommitError(StoreError):
    """A checkpoint could not be written, flushed or moved into place."""


class Busy(CommitError):
    """A save that was skipped, because as many as may wait were still to be written."""


class RecoveryError(StoreError, OSError):
    """What a killed training left half done could neither be finished nor undone: the disk failed."""


class NotEnoughMemory(StoreError, MemoryError):
    """Too little memory is left to hold a snapshot of the training's state."""


class VerifyError(StoreError):
    """A checkpoint whose bytes do not match the manifest."""


class Unreadable(VerifyError):
    """A checkpoint that the disk, or whoever serves it, did not give out: it may do so the next time."""


class ResumeError(CkptError):
    """A checkpoint that exists, but that training cannot be resumed from."""


class MissingDependency(CkptError, ImportError):
    """An optional dependency that is not installed; the message names the pip command."""

    @classmethod
    def of(cls, module: str, extra: str) -> MissingDependency:
        return cls(f'{module} is not installed: run `pip install "ckpt-callbacks[{extra}]"`')


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
