"""What both adapters are given: a policy as an object, as a YAML file or as a mapping, and settings beside it."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from ..errors import PolicyError
from ..policy.composition import Trigger
from ..policy.policy import Policy
from ..units import as_bytes, as_seconds
from . import Config

# `dict` and this order are for LightningCLI, whose parser would make text of a mapping where a path is allowed too.
PolicyLike = Policy | dict[str, Any] | str | PathLike[str]
_SETTINGS = (
    "filename", "contents", "metadata", "on_error", "grace", "min_free", "background", "max_pending", "when_busy",
    "staging",
)  # fmt: skip


def resolve(holder: str, dirpath: str | PathLike[str] | None, policy: PolicyLike, *, allow_code: bool = False,
            **settings: Any) -> dict[str, Any]:  # fmt: skip
    """The arguments of a `Run`, and ``staging``: what the caller gave, over what the file says, over the defaults.

    Args:
        holder: What error messages call the caller. dirpath: the run directory; may come from the file.
        policy: A `Policy`, the path of a YAML file, or what such a file holds.
        allow_code: Let the file name predicates to import.
        settings: Any other field of `Config`; None means "not given". Grace and min_free may be text with a unit.

    Raises:
        ConfigError: the file is wrong. PolicyError: there is no run directory, the policy is none, or a quantity is.
    """
    if dirpath is not None and not isinstance(dirpath, str | PathLike):
        raise PolicyError(f"{holder}: dirpath is {dirpath!r}; expected the run directory, and the policy behind it")
    if isinstance(policy, Policy):
        config = Config(policy=policy)
    elif isinstance(policy, Mapping):
        config = Config.from_mapping(policy, source=f"{holder}: policy", allow_code=allow_code)
    elif isinstance(policy, str | PathLike):
        config = Config.from_yaml(policy, allow_code=allow_code)
    else:
        hint = f", such as Policy(save={policy!r})" if isinstance(policy, Trigger) else ""
        raise PolicyError(
            f"{holder}: policy is {policy!r}; expected a Policy{hint}, the path of a YAML file, or a mapping"
        )
    dirpath = dirpath if dirpath is not None else config.dirpath
    if dirpath is None:
        raise PolicyError(f"{holder}: dirpath is missing; expected the run directory, such as {holder}('runs/a', ...)")
    given = {name: value for name, value in settings.items() if value is not None}
    if "grace" in given:
        given["grace"] = as_seconds(given["grace"], f"{holder}: grace", positive=True)
    if "min_free" in given:
        given["min_free"] = as_bytes(given["min_free"], f"{holder}: min_free")
    from_file = {name: getattr(config, name) for name in _SETTINGS}
    if "staging" in given and given["staging"] not in ("memory", "none"):
        raise PolicyError(f"{holder}: staging is {given['staging']!r}; expected 'memory' or 'none'")
    if "metadata" in given:
        given["metadata"] = {**from_file["metadata"], **given["metadata"]}
    try:
        described = Config(policy=config.policy).to_mapping()
    except PolicyError:
        described = None  # a function of the user's own has no form in a file
    return {"dirpath": dirpath, "policy": config.policy, "described": described, **from_file, **given}
