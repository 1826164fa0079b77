"""The settings of a run: everything a callback takes besides its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import PolicyError
from .units import as_bytes, as_seconds, check_count


@dataclass(frozen=True)
class Settings:
    """The settings of a run, validated when they are built.

    A setting is defined here. It also needs its type in ``config/schema.py`` and a parameter in both callbacks; all
    other code passes settings along as one value.

    Attributes:
        dirpath: The run directory. None in a file that leaves it to the callback.
        filename: Template of the file names; see `FileName`.
        contents: ``full`` (a run can be resumed from it) or ``weights``.
        metadata: Facts for every record.
        on_error: ``warn``, or ``raise`` when a save fails.
        grace: Seconds from a signal to the end of the process, or text such as ``"30 s"``.
        min_free: Bytes that a save must leave free on the disk, or text such as ``"5 GB"``.
        max_total_size: Bytes that all checkpoints of the run may take together, or text such as ``"50 GB"``. None for
            as many as the rules keep.
        background: Write on a worker thread while training runs.
        max_pending: Number of snapshots that may wait to be written.
        when_busy: ``wait`` when ``max_pending`` snapshots wait, or ``skip`` the save, which then stays due.
        staging: ``memory`` to copy the state before it is written, ``none`` to write it in place while training waits.
        resume: ``auto`` to continue from the newest checkpoint, ``never``, or the path of the checkpoint to continue
            from. A mapping means ``auto`` and names parts to restore besides the weights: ``optimizer`` and ``step``,
            each True or False. A part that is not named is restored. See `ResumedParts`. None for the callback's
            default.
        mirrors: The places elsewhere that receive the checkpoints, each a `Mirror`.

    Raises:
        PolicyError: A setting has a wrong type or value. The message begins with ``Settings:``.
    """

    dirpath: str | PathLike[str] | None = None
    filename: str | None = None
    contents: Literal["full", "weights"] = "full"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    on_error: Literal["warn", "raise"] = "warn"
    grace: float = 30.0
    min_free: int = 0
    max_total_size: int | None = None
    background: bool = True
    max_pending: int = 1
    when_busy: Literal["wait", "skip"] = "wait"
    staging: Literal["memory", "none"] = "memory"
    resume: Mapping[str, bool] | str | PathLike[str] | None = None
    mirrors: tuple[Any, ...] = ()  # of `Mirror`, which is a part of the policy's room

    def __post_init__(self) -> None:
        object.__setattr__(self, "grace", as_seconds(self.grace, "Settings: grace", positive=True))
        object.__setattr__(self, "min_free", as_bytes(self.min_free, "Settings: min_free"))
        if self.max_total_size is not None:
            size = as_bytes(self.max_total_size, "Settings: max_total_size")
            if not size:
                raise PolicyError(
                    f"Settings: max_total_size is {self.max_total_size!r}; expected the size of at least one checkpoint"
                )
            object.__setattr__(self, "max_total_size", size)
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise PolicyError(f"Settings: {name} is {value!r}; expected one of {', '.join(get_args(kind))}")
        if not isinstance(self.background, bool):
            raise PolicyError(f"Settings: background is {self.background!r}; expected True or False")
        if isinstance(self.dirpath, str) and not self.dirpath.strip():
            raise PolicyError(f"Settings: dirpath is {self.dirpath!r}; expected a run directory, such as 'runs/a'")
        self._check_mirrors()
        check_count("Settings", "max_pending", self.max_pending)
        if not isinstance(self.resume, Mapping | str | PathLike | None):
            raise PolicyError(
                f"Settings: resume is {self.resume!r}; expected 'auto', 'never' or a checkpoint's path, or which parts "
                "to restore, such as {'optimizer': False}"
            )
        parts = self.resume.items() if isinstance(self.resume, Mapping) else ()
        if any(name not in ("optimizer", "step") or not isinstance(restored, bool) for name, restored in parts):
            raise PolicyError(
                f"Settings: resume is {self.resume!r}; expected True or False for the optimizer and the step, such as "
                "{'optimizer': False}"
            )

    def _check_mirrors(self) -> None:
        texts = (str, bytes, Mapping, PathLike, type(None))
        if not isinstance(self.mirrors, tuple) or any(isinstance(one, texts) for one in self.mirrors):
            # What was given is not shown, because it may hold a password.
            raise PolicyError(
                "Settings: mirrors are no Mirror values; expected a tuple, such as (Mirror('s3://bucket/run'),)"
            )
