"""All errors that this package raises on purpose, in one tree::

    CkptError
    ├── PolicyError (ValueError)          a policy value that makes no sense
    │   └── WrongFramework                a callback given to the other framework
    ├── ConfigError (ValueError)          a wrong YAML file; `.problems` lists all mistakes
    ├── MetricError                       a monitored metric that was never logged
    ├── StoreError                        a problem with a run directory or a file in it
    │   ├── DirectoryInUse                another training run writes to the directory
    │   ├── CommitError                   a checkpoint that could not be written or committed
    │   │   └── Busy                      a save that was skipped because earlier ones were still being written
    │   ├── RecoveryError (OSError)       an interrupted run that could not be recovered
    │   ├── NotEnoughMemory (MemoryError) too little memory for a snapshot
    │   └── VerifyError                   a file that does not match its digest
    │       └── Unreadable                a file that could not be read now
    ├── MirrorError                       a place elsewhere that refuses what is asked of it
    │   ├── MirrorUnreachable             one that does not answer now
    │   ├── MirrorConflict                an object that another process has written
    │   └── MirrorDamaged                 an object that does not hold the bytes that were sent
    ├── ResumeError                       a checkpoint that cannot be resumed from
    ├── ExportError                       a checkpoint that cannot be exported
    │   └── ExportDiffers                 an exported file that differs from its checkpoint
    └── MissingDependency (ImportError)   a framework that is not installed

All of them can be imported from `ckpt_callbacks`. Each message is one line: where, what was received, what was
expected, what to do next.
"""

from __future__ import annotations

import opcode
import os
import sys
import unicodedata
from collections.abc import Sequence

_CALLBACKS = {"LightningCheckpoint": "ckpt_callbacks.lightning", "KerasCheckpoint": "ckpt_callbacks.keras"}
_LIGHTNING, _KERAS = (f"`from {module} import {name}`" for name, module in _CALLBACKS.items())
_OF_FRAMEWORKS = {  # the frameworks' own callbacks, and what to import instead
    "ModelCheckpoint": f"{_LIGHTNING} or {_KERAS}",
    "BackupAndRestore": _KERAS,
    "EarlyStopping": "patience=... of a callback, or `from ckpt_callbacks import Patience` for the stop of a policy",
}
_SHOWN = 3  # items of a list that a message names
_UNSAFE = {"Cc", "Zl", "Zp"}  # controls, and separators of lines and paragraphs
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder a line
_RAW = frozenset(map(chr, range(0xDC80, 0xDCA0)))  # bytes of a name that is not UTF-8, as controls of eight bits


class CkptError(Exception):
    """The base of all errors of this package."""


class PolicyError(CkptError, ValueError):
    """A value that makes no sense in a policy or a setting. Raised when the value is built, before training."""


class WrongFramework(PolicyError, AttributeError):
    """A callback was passed to the other framework, which has looked for one of its own attributes."""


class ConfigError(CkptError, ValueError):
    """A YAML file with mistakes.

    Attributes:
        problems: One line for each mistake, with its place in the file.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)  # a pickle would build it from the text


class MetricError(CkptError):
    """A metric that the policy monitors but training does not log.

    Raised at the end of the first epoch if a similar name was logged, and otherwise after ten epochs, or a longer
    warm-up. The message lists the logged names.
    """


class StoreError(CkptError):
    """A problem with a run directory or a file in it; the base of more specific errors."""


class DirectoryInUse(StoreError):
    """A run directory that another training run, or another callback of this process, writes to."""


class CommitError(StoreError):
    """A checkpoint that could not be written, flushed or moved into place. Older checkpoints are untouched."""


class Busy(CommitError):
    """A save that was skipped because as many as `max_pending` allows were still being written."""


class RecoveryError(StoreError, OSError):
    """An I/O error during the recovery of a run directory after an interrupted training run."""


class NotEnoughMemory(StoreError, MemoryError):
    """Too little memory for a snapshot of the training run's state."""


class VerifyError(StoreError):
    """A checkpoint that is missing, or whose bytes do not match the manifest."""


class Unreadable(VerifyError):
    """A checkpoint that could not be read now; the failure may be temporary."""


class MirrorError(CkptError):
    """A place elsewhere that refuses what is asked of it: its credentials, its rights or its address are wrong."""


class MirrorUnreachable(MirrorError):
    """A place elsewhere that does not answer now, or not in time. The failure may be temporary."""


class MirrorConflict(MirrorError):
    """An object elsewhere that another process has written, or deleted, meanwhile."""


class MirrorDamaged(MirrorError):
    """An object elsewhere that does not hold the bytes that were sent, by the store's own checksum."""


class ResumeError(CkptError):
    """A checkpoint from which training cannot be resumed, such as one of a different model."""


class ExportError(CkptError):
    """A checkpoint that cannot be exported. Nothing was written."""


class ExportDiffers(ExportError):
    """An exported file that differs from its checkpoint by more than the tolerance. It was removed."""


class MissingDependency(CkptError, ImportError):
    """An optional dependency that is not installed; the message gives the pip command."""

    @classmethod
    def of(cls, module: str, extra: str) -> MissingDependency:
        """Return the error for a module that the named extra of this package installs."""
        return cls(f'{module} is not installed: run `pip install "ckpt-callbacks[{extra}]"`')


def absent(module: str, name: str) -> Exception:
    """Return the error about a name that a module of the package lacks. Its `__getattr__` calls this, and nothing else.

    Args:
        module: The module's name.
        name: The name.

    Returns:
        An `AttributeError`, which says what to import for a name that is elsewhere. To a ``from ... import``, which
        would replace that message, it is an `ImportError`.
    """
    home = _CALLBACKS.get(name) or ("ckpt_callbacks" if name in sys.modules["ckpt_callbacks"].__all__ else None)
    instead = f"`from {home} import {name}`" if home is not None else _OF_FRAMEWORKS.get(name)
    if instead is None:
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name, obj=sys.modules.get(module))
    message, statement = f"{module} has no {name}; expected {instead}", sys._getframe(2)
    if statement.f_code.co_code[statement.f_lasti] == opcode.opmap["IMPORT_FROM"]:
        return ImportError(message, name=module)
    return AttributeError(message)


def first_line(error: BaseException) -> str:
    """Return the message of any error on one line, or its class if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def cause_of(error: OSError) -> str:
    """Return what the system says about an error, and the file that it concerns if that is known."""
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    return f"{error.strerror or error}{where}"


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Return the first three items in one line, and the number of the others."""
    rest = f"{separator}and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return separator.join(items[:_SHOWN]) + rest


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters escaped, such as ``\x1b``.

    Args:
        text: The text.
        keep: Control characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _is_unsafe(c) else c.encode("unicode_escape").decode() for c in text)


def _is_unsafe(character: str) -> bool:
    return character in _BIDI or character in _RAW or unicodedata.category(character) in _UNSAFE
