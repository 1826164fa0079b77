"""A policy and the settings beside it, as one YAML file holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from ..errors import ConfigError
from ..policy.policy import Policy
from ..units import as_bytes, as_seconds
from . import schema as document
from . import writer as writing
from . import yaml_text as text


@dataclass(frozen=True)
class Config:
    """What a YAML file says.

    Attributes:
        policy: When to save, what to keep, when to stop.
        dirpath: The run directory. filename: template of the file names; see `FileName`.
        contents: ``full`` or ``weights``. metadata: facts for every record.
        on_error: ``warn``, or ``raise`` when a save fails.
        grace: Seconds that a signal leaves for a last save, or text such as ``"30 s"``.
        min_free: Bytes to leave free on the disk, or text such as ``"5 GB"``.
        background: Write on a thread beside the training's. max_pending: snapshots that may wait to be written.
        when_busy: ``wait`` when as many do, or ``skip`` the save, which stays due.
        staging: ``memory`` for a copy of the state; ``none`` to write it where it is, while training stands still.

    Raises:
        PolicyError: grace is no duration, or min_free no size.
    """

    policy: Policy
    dirpath: str | None = None
    filename: str | None = None
    contents: str = "full"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    on_error: str = "warn"
    grace: float = 30.0
    min_free: int = 0
    background: bool = True
    max_pending: int = 1
    when_busy: str = "wait"
    staging: str = "memory"

    def __post_init__(self) -> None:
        object.__setattr__(self, "grace", as_seconds(self.grace, "Config: grace", positive=True))
        object.__setattr__(self, "min_free", as_bytes(self.min_free, "Config: min_free"))

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], *, allow_code: bool = False) -> Config:
        """Read a YAML file.

        Args:
            path: The file. allow_code: import the functions that ``{predicate: pkg.mod:fn}`` names.

        Raises:
            ConfigError: with one line for each mistake in the file.
        """
        parsed, duplicates = text.read(path)
        return cls._from(parsed, source=str(path), allow_code=allow_code, problems=duplicates)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, source: str = "policy", allow_code: bool = False) -> Config:
        """The same from a document that was parsed already.

        Args:
            mapping: What the file would hold. source: stands in front of each problem, as the path of a file would.
            allow_code: As for `from_yaml`.

        Raises:
            ConfigError: with one line for each mistake.
        """
        parsed = dict(mapping) if isinstance(mapping, Mapping) else mapping
        return cls._from(parsed, source=source, allow_code=allow_code, problems=[])

    @classmethod
    def _from(cls, parsed: Any, *, source: str, allow_code: bool, problems: list[str]) -> Config:
        facts, found = document.read(parsed, allow_code=allow_code)
        problems = [f"{source}: {problem}" for problem in problems + found]
        if problems:
            raise ConfigError(problems)
        parts = {name: facts.pop(name) for name in ("save", "keep", "stop", "best_by") if name in facts}
        settings = {name: facts[name] for name in cls.__dataclass_fields__ if name in facts}
        return cls(policy=Policy(**parts), **settings)

    def to_mapping(self) -> dict[str, Any]:
        """The document that `from_mapping` reads back as an equal `Config`: plain values.

        Raises:
            PolicyError: something cannot be written down, such as a lambda.
        """
        return writing.document(self)

    def to_yaml(self) -> str:
        """The canonical text, which `from_yaml` reads back as an equal `Config`.

        Raises:
            PolicyError: something cannot be written down, such as a lambda.
        """
        return text.dump(self.to_mapping())
