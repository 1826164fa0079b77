"""The `storage_options` of a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import MirrorError


def named(
    where: str,
    options: Mapping[str, Any],
    names: Collection[str],
    aliases: Mapping[str, str],
    prefixes: tuple[str, ...],
) -> dict[str, Any]:
    """Return options under the names that this package uses.

    Args:
        where: The URL, for messages.
        options: What the user gave. Options that are None count as not given.
        names: All that are known.
        aliases: Other names of them, in other libraries.
        prefixes: What names may begin with, as those of environment variables do.

    Raises:
        MirrorError: An option is not known, or given twice under two names. The message names it, not its value.
    """
    found: dict[str, Any] = {}
    for given, value in options.items():
        if value is None:
            continue
        name = given.lower()
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix) and name not in names), "")
        name = name[len(prefix) :]
        name = aliases.get(name, name)
        if name not in names:
            raise MirrorError(f"{where}: received the option {given!r}; expected one of {', '.join(sorted(names))}")
        if name in found and found[name] != value:
            raise MirrorError(f"{where}: the option {name} is given twice, also as {given!r}; give it once")
        found[name] = value
    return found


def secrets_of(options: Mapping[str, Any], harmless: Collection[str]) -> dict[str, Any]:
    """Return the options that no message may show.

    Args:
        options: All of them, by their names.
        harmless: The names of those that help to understand a message.
    """
    return {name: value for name, value in options.items() if name not in harmless}


def is_true(value: Any) -> bool:
    """Return whether an option is switched on; environment variables and YAML may hold it as a string."""
    return value is True or str(value).strip().lower() in ("1", "true", "yes", "on")
