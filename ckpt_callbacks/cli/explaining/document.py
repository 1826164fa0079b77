"""The callbacks that a configuration names: a file of LightningCLI, or one with ``_target_`` as Hydra has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from ...config import yaml_text
from ...errors import ConfigError
from .call import Call, Unread, known_class, unknown_part

_DURATION = re.compile(r"(?:(\d+) days?, )?(\d+):(\d+):(\d+(?:\.\d+)?)")
_INTERPOLATION = re.compile(r"\$\{([^{}]*)\}")
_INTERVALS = ("train_time_interval",)
_TEXTS = ("monitor", "mode", "filename", "dirpath", "filepath", "backup_dir")
_TRUTH = {"yes": True, "on": True, "no": False, "off": False}  # in YAML 1.1, which LightningCLI and Hydra read


def calls_of_document(path: Path) -> Iterator[Call]:
    """Yield each known callback, in the order of the file.

    Raises:
        ConfigError: The file cannot be read, or is not YAML.
    """
    parsed, duplicates = yaml_text.read(path)
    if duplicates:
        raise ConfigError([f"{path}: {one}" for one in duplicates])
    yield from _found(parsed, str(path), "")


def is_policy(path: Path) -> bool:
    """Return whether a configuration is a policy itself, with rules or a metric, and names no callback."""
    parsed, _ = yaml_text.read(path)
    return isinstance(parsed, Mapping) and not {"save", "monitor"}.isdisjoint(parsed) and _class_of(parsed) is None


def _found(value: Any, path: str, key: str) -> Iterator[Call]:
    if isinstance(value, list):
        for number, part in enumerate(value):
            yield from _found(part, path, f"{key}[{number}]")
    if not isinstance(value, Mapping):
        return
    kind = _class_of(value)
    found = known_class(kind) if kind is not None else None
    if found is not None:
        positional, arguments = _arguments(value)
        policy, beside = arguments.get("policy"), Path(path).parent
        if isinstance(policy, str) and (beside / policy).is_file():
            arguments["policy"] = str(beside / policy)  # as LightningCLI finds it
        yield Call(f"{path}: {key}" if key else path, *found, positional, arguments)
        return
    for name, part in value.items():
        yield from _found(part, path, f"{key}.{name}" if key else str(name))


def _class_of(value: Mapping) -> str | None:
    kind = value.get("class_path", value.get("_target_"))
    return kind if isinstance(kind, str) else None


def _arguments(value: Mapping) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if "class_path" in value:
        given = value.get("init_args")
        given = given if isinstance(given, Mapping) else {}
    else:
        given = {name: part for name, part in value.items() if not str(name).startswith("_")}
    listed = value.get("_args_")
    positional = tuple(_read(part) for part in listed) if isinstance(listed, list) else ()
    return positional, {str(name): _read(part, str(name)) for name, part in given.items()}


def _read(value: Any, name: str = "") -> Any:
    if value == "???":  # OmegaConf's missing value
        return Unread(value, unknown_part(value))
    if isinstance(value, str) and "${" in value:
        return Unread(value, _INTERPOLATION.sub(lambda found: unknown_part(found[1]), value))
    if isinstance(value, str) and name in _INTERVALS and (found := _DURATION.fullmatch(value)):
        days, hours, minutes, seconds = found.groups()
        return timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=float(seconds))
    if isinstance(value, str) and value.lower() in _TRUTH and name not in _TEXTS:
        return _TRUTH[value.lower()]
    if isinstance(value, Mapping) and _class_of(value) == "datetime.timedelta":
        try:
            return timedelta(**_arguments(value)[1])
        except (TypeError, OverflowError):
            return Unread(str(value))
    if isinstance(value, Mapping | list) and "${" in str(value):
        return Unread(str(value))
    return value
