"""The arguments of a callback: the caller's values take precedence over a YAML file, and both over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from ..errors import PolicyError
from ..policy.composition import Trigger
from ..policy.metric import AUTO
from ..policy.policy import Policy
from ..store.paths import expanded
from . import Config
from .policy_contents import separated
from .policy_mirrors import with_mirrors
from .remote_dirpath import with_cache

# `dict` and this order are for LightningCLI, whose parser would turn a mapping into text if a path came first.
PolicyLike = Policy | dict[str, Any] | str | PathLike[str]


def build_config(
    name: str,
    dirpath: str | PathLike[str] | None,
    policy: PolicyLike | None,
    *,
    monitor: str | list[str] | None = None,
    mode: str | None = None,
    patience: int | None = None,
    allow_code: bool = False,
    needs_dirpath: bool = True,
    **given: Any,
) -> Config:
    """Return the policy and the settings of a callback.

    Args:
        name: The callback's name in error messages.
        dirpath: The run directory, perhaps with ``~`` and ``$VARIABLES``. None if the file names it.
        policy: A `Policy`, the path of a YAML file, or the mapping that such a file holds. None for the default.
        monitor: The metric of the default policy; see `Policy.default`. A file that has one, or no rules, is completed.
        mode: Its direction. ``"auto"`` means the same as None, so a file may still have one.
        patience: When the default policy stops.
        allow_code: Whether the file may name predicates to import.
        needs_dirpath: Whether the callback needs a run directory now.
        given: Any other field of `Settings`. None means "not given". Metadata is merged with the file's.

    Raises:
        ConfigError: The file is wrong.
        PolicyError: An argument is wrong, or there is no run directory, or its name in the file has a variable that is
            not set.
    """
    if dirpath is not None and not isinstance(dirpath, str | PathLike):
        raise PolicyError(
            f"{name}: dirpath is {dirpath!r}; expected the run directory as the first argument and the policy as the "
            "second"
        )
    short = {"monitor": monitor, "mode": None if mode == AUTO else mode, "patience": patience}
    config = _read(name, policy, {field: value for field, value in short.items() if value is not None}, allow_code)
    given = {field: value for field, value in {"dirpath": dirpath, **given}.items() if value is not None}
    completed, given = separated(config.policy, given, name)
    given = with_mirrors(completed, given, name)
    config = Config(completed, config.settings)
    if "metadata" in given:
        given["metadata"] = {**config.settings.metadata, **given["metadata"]}
    try:
        settings = replace(config.settings, **given)
    except PolicyError as error:
        raise PolicyError(f"{name}: {str(error).removeprefix('Settings: ')}") from None
    if settings.dirpath is None and not needs_dirpath:
        return Config(config.policy, settings)
    if settings.dirpath is None:
        raise PolicyError(
            f"{name}: dirpath is missing; expected the run directory, such as {name}('runs/a', ...), "
            f"{name}.from_yaml(path, dirpath='runs/a'), or dirpath: runs/a in the file"
        )
    settings = with_cache(settings, name)
    assert settings.dirpath is not None
    found = expanded(f"{name}: dirpath", settings.dirpath, strict=dirpath is None)
    return Config(config.policy, replace(settings, dirpath=str(found)))


def _read(name: str, policy: object, short: Mapping[str, Any], allow_code: bool) -> Config:
    if policy is None:
        return Config(_default(name, short))
    if isinstance(policy, Policy) and short:
        raise PolicyError(
            f"{name}: got policy and {', '.join(short)}; expected one of them: a policy, or monitor (with mode and "
            "patience) for the default one"
        )
    if isinstance(policy, Policy):
        return Config(policy)
    if isinstance(policy, Mapping):
        return Config.from_mapping(policy, source=f"{name}: policy", allow_code=allow_code, short=short)
    if isinstance(policy, str | PathLike):
        path = expanded(f"{name}: policy", policy)
        if isinstance(policy, str) and not path.suffix and not path.exists():
            raise PolicyError(
                f"{name}: policy is {policy!r}, which is no file; for a metric, expected monitor={policy!r}"
            )
        return Config.from_yaml(path, allow_code=allow_code, short=short)
    hint = f", such as Policy(save={policy!r})" if isinstance(policy, Trigger) else ""
    raise PolicyError(f"{name}: policy is {policy!r}; expected a Policy{hint}, the path of a YAML file, or a mapping")


def _default(name: str, short: Mapping[str, Any]) -> Policy:
    if "monitor" not in short:
        got = f"; got only {', '.join(short)}" if short else ""
        raise PolicyError(
            f"{name}: policy is missing; expected a Policy, or monitor='val_loss' for the default one{got}"
        )
    try:
        return Policy.default(**short)
    except PolicyError as error:
        raise PolicyError(f"{name}: {str(error).removeprefix('Policy.default: ')}") from None
