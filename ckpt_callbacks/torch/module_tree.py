"""The parts and the parameters of a module, found in a fraction of the time that torch's own generators take.

Each save looks at them several times, on the thread that trains; with 300 layers, torch takes 0.5 ms each time.
"""

from __future__ import annotations

import torch


def parts_by_name(module: torch.nn.Module, *, repeated: bool = False) -> list[tuple[str, torch.nn.Module]]:
    """Return what `torch.nn.Module.named_modules` yields.

    Args:
        module: The module.
        repeated: Whether a part that has several names is returned under each of them.
    """
    found: list[tuple[str, torch.nn.Module]] = []
    seen: set[int] = set()
    left = [("", module)]
    while left:
        path, part = left.pop()
        if not repeated:
            if id(part) in seen:
                continue
            seen.add(id(part))
        children = vars(part).get("_modules")
        if type(part).named_modules is not _NAMED_MODULES or type(children) is not dict:
            return list(module.named_modules(remove_duplicate=not repeated))  # a module with a tree of its own
        found.append((path, part))
        if children:
            prefix = f"{path}." if path else ""
            left += [(prefix + name, child) for name, child in reversed(children.items()) if child is not None]
    return found


def parameters_by_name(module: torch.nn.Module, *, repeated: bool = False) -> list[tuple[str, torch.nn.Parameter]]:
    """Return what `torch.nn.Module.named_parameters` yields.

    Args:
        module: The module.
        repeated: Whether a parameter that has several names is returned under each of them.
    """
    if type(module).named_parameters is not _NAMED_PARAMETERS:
        return list(module.named_parameters(remove_duplicate=not repeated))
    found: list[tuple[str, torch.nn.Parameter]] = []
    seen: set[int] = set()
    for path, part in parts_by_name(module, repeated=repeated):
        prefix = f"{path}." if path else ""
        own = vars(part).get("_parameters")
        if type(own) is not dict:
            return list(module.named_parameters(remove_duplicate=not repeated))
        for name, parameter in own.items():
            if parameter is None or (not repeated and id(parameter) in seen):
                continue
            seen.add(id(parameter))
            found.append((prefix + name, parameter))
    return found


_NAMED_MODULES, _NAMED_PARAMETERS = torch.nn.Module.named_modules, torch.nn.Module.named_parameters
