"""`Config`: the policy and the settings that one YAML file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError, PolicyError
from ..policy.policy import Policy
from ..settings import Settings
from . import schema, writer, yaml_text
from .containers import built_in
from .policy_contents import separated
from .policy_mirrors import with_mirrors
from .short_form import completed


@dataclass(frozen=True)
class Config:
    """The content of a YAML file.

    Attributes:
        policy: When to save, what to keep, when to stop.
        settings: Everything else.
    """

    policy: Policy
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def from_yaml(
        cls, path: str | PathLike[str], *, allow_code: bool = False, short: Mapping[str, Any] = MappingProxyType({})
    ) -> Config:
        """Read a YAML file.

        Args:
            path: The file.
            allow_code: Whether to import the functions that ``{predicate: pkg.mod:fn}`` names.
            short: Any of ``monitor``, ``mode`` and ``patience``, in place of those in the file.

        Raises:
            ConfigError: The file is wrong; one line for each mistake.
        """
        parsed, duplicates = yaml_text.read(path)
        parsed, clashes = completed(parsed, short, schema.RULES)
        return cls._from(parsed, source=str(path), allow_code=allow_code, problems=duplicates + clashes)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Any],
        *,
        source: str = "policy",
        allow_code: bool = False,
        short: Mapping[str, Any] = MappingProxyType({}),
    ) -> Config:
        """Read a document that has already been parsed.

        Args:
            mapping: What the file would hold.
            source: The first words of each error message, instead of a file's path.
            allow_code: As for `from_yaml`.
            short: As for `from_yaml`.

        Raises:
            ConfigError: The document is wrong; one line for each mistake.
        """
        parsed, clashes = completed(built_in(mapping), short, schema.RULES)
        return cls._from(parsed, source=source, allow_code=allow_code, problems=clashes)

    @classmethod
    def _from(cls, parsed: Any, *, source: str, allow_code: bool, problems: list[str]) -> Config:
        parts, found = schema.read(parsed, allow_code=allow_code)
        problems = [f"{source}: {problem}" for problem in problems + found]
        if problems:
            raise ConfigError(problems)
        settings = {f.name: parts.pop(f.name) for f in fields(Settings) if f.name in parts}
        policy = {f.name: parts[f.name] for f in fields(Policy) if f.name in parts}
        try:
            built, settings = separated(Policy(**policy), settings, source)
            settings = with_mirrors(built, settings, source)
        except PolicyError as error:
            raise ConfigError([str(error)]) from None
        return cls(built, Settings(**settings))

    @property
    def described(self) -> dict[str, Any] | None:
        """The policy alone as plain values, for the manifest; None if a part of it has no form in YAML."""
        try:
            return Config(self.policy).to_mapping()
        except PolicyError:
            return None  # a function of the user has no form in a file

    def to_mapping(self) -> dict[str, Any]:
        """Return the document as plain values; `from_mapping` reads it back as an equal `Config`.

        It holds all that the user has given, also what may be secret, such as the options of a store's client.

        Raises:
            PolicyError: A part has no form in YAML, such as a lambda.
        """
        return writer.document(self)

    def to_yaml(self) -> str:
        """Return the canonical text; `from_yaml` reads it back as an equal `Config`.

        Raises:
            PolicyError: A part has no form in YAML, such as a lambda.
        """
        return yaml_text.dump(self.to_mapping())
