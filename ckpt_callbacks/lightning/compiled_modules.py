"""The names of the weights of compiled modules, to which `torch.compile` adds a prefix."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from ..torch.module_tree import parts_by_name

_COMPILED = "OptimizedModule"  # by its name: importing the class would load the whole compiler
_INNER = "_orig_mod"
_PREFIX = f"{_INNER}."
_STATES = ("state_dict", "current_model_state")  # the second one is that of WeightAveraging


def compiled_parts(module: torch.nn.Module, kinds: Collection[str] | None = None) -> list[str]:
    """Return the names of the compiled parts of a module, nested ones first.

    Args:
        module: The module.
        kinds: The names of the classes of the module and its parts; None if they are not known.
    """
    if kinds is not None and _COMPILED not in kinds:
        return []
    compiled = [name for name, part in parts_by_name(module, repeated=True) if _is_compiled(part)]
    return sorted(compiled, key=len, reverse=True)


def write_plain_names(checkpoint: dict[str, Any], compiled: Sequence[str]) -> None:
    """Give the weights in a checkpoint the names that they have in the module before it is compiled.

    Args:
        checkpoint: The checkpoint.
        compiled: As `compiled_parts` returns them.
    """
    for key in _STATES if compiled else ():
        state = checkpoint.get(key)
        if isinstance(state, Mapping):
            checkpoint[key] = _renamed(state, {name: _plain(name, compiled) for name in state}, {})


def plain_names(names: Sequence[str], compiled: Sequence[str]) -> list[str]:
    """Return the names that `write_plain_names` gives to weights."""
    return [_plain(name, compiled) for name in names]


def fit_names(checkpoint: dict[str, Any], module: torch.nn.Module) -> None:
    """Give the weights in a checkpoint the names that they have in the module, which may be compiled or not."""
    weights: dict[str, str] = {_without(name): name for name in torch.nn.Module.state_dict(module)}
    paths: dict[str, str] = {_without(path): path for path, _ in module.named_modules(remove_duplicate=False)}
    for key in _STATES:
        state = checkpoint.get(key)
        if isinstance(state, Mapping):
            checkpoint[key] = _renamed(state, {name: weights.get(_without(name)) or name for name in state}, paths)


def accept_plain_names(module: torch.nn.Module) -> None:
    """Let the compiled parts of a module load weights with and without the prefix, even if other code loads them."""
    for part in module.modules():
        if _is_compiled(part) and not accepts_plain_names(part):
            part.register_load_state_dict_pre_hook(_add_prefix)


def accepts_plain_names(part: torch.nn.Module) -> bool:
    """Return whether `accept_plain_names` has changed how a module loads, and nothing else has."""
    hooks = [getattr(hook, "hook", hook) for hook in part._load_state_dict_pre_hooks.values()]
    return hooks == [_add_prefix]


def _add_prefix(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    inner = prefix + _PREFIX
    if any(name.startswith(inner) for name in state):
        return
    for name in [name for name in state if name.startswith(prefix)]:
        state[inner + name.removeprefix(prefix)] = state.pop(name)


def _is_compiled(part: torch.nn.Module) -> bool:
    return type(part).__name__ == _COMPILED and any(name == _INNER for name, _ in part.named_children())


def _plain(name: str, compiled: Sequence[str]) -> str:
    for path in compiled:
        prefix = f"{path}." if path else ""
        if name.startswith(prefix + _PREFIX):
            name = prefix + name.removeprefix(prefix + _PREFIX)
    return name


def _without(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != _INNER)


def _renamed(state: Mapping[str, Any], names: Mapping[str, str], paths: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a ``state_dict`` with other names.

    Args:
        state: The ``state_dict``.
        names: The new name of each weight.
        paths: The new path of each module, by its path without the prefix. Other modules get the path without the
            prefix.
    """
    if len(set(names.values())) < len(names) or all(name == new for name, new in names.items()):
        return state
    renamed: Any = OrderedDict((names[name], value) for name, value in state.items())
    versions = getattr(state, "_metadata", None)
    if versions is not None:
        kept = [(_without(path), version) for path, version in versions.items()]
        setattr(renamed, "_metadata", OrderedDict((paths.get(path, path), version) for path, version in kept))  # noqa: B010
    return renamed
