"""The names of a module's parameters, which are kept from save to save until the module changes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import torch

from .module_tree import parameters_by_name

# By `map`, because a loop over thousands of layers takes several times as long.
_parameters, _modules, _requires_grad = attrgetter("_parameters"), attrgetter("_modules"), attrgetter("requires_grad")


@dataclass(frozen=True)
class Names:
    """The names of the parameters of one module.

    Attributes:
        trained: Those with gradients. A parameter that has several names has each of them here.
        frozen: Those without; one name of each.
        frozen_in_file: The same, with each of their names, as a state dictionary has them.
        kinds: The names of the classes of the module and its parts; None if they are not known.
    """

    trained: list[str]
    frozen: list[str]
    frozen_in_file: list[str]
    kinds: frozenset[str] | None


class ParameterNames:
    """Finds the names of the parameters of one module, again and again.

    It remembers an outline of the module: all keys, the identities of the parameters, and which of them have gradients.
    """

    def __init__(self) -> None:
        self._outline: tuple[Any, ...] | None = None
        self._names: Names | None = None

    def of(self, module: torch.nn.Module) -> Names:
        """Return the names in a module as it is now."""
        outline = _outline(module)
        if outline is None or self._names is None or outline != self._outline:
            self._outline, self._names = outline, _names(module, None if outline is None else outline[0])
        return self._names


def _names(module: torch.nn.Module, kinds: set[type] | None) -> Names:
    every = parameters_by_name(module, repeated=True)
    trained = [name for name, one in every if one.requires_grad]
    frozen_in_file = [name for name, one in every if not one.requires_grad]
    frozen = [name for name, one in parameters_by_name(module) if not one.requires_grad] if frozen_in_file else []
    return Names(trained, frozen, frozen_in_file, None if kinds is None else frozenset(kind.__name__ for kind in kinds))


def _outline(module: torch.nn.Module) -> tuple[Any, ...] | None:
    """Return all that the names follow from, beginning with the classes; None for a tree of an unusual kind."""
    kinds: set[type] = set()
    keys: list[str] = []
    counts: list[int] = []
    found: list[Any] = []
    level = [module]
    while level:
        own, inner = list(map(_parameters, level)), list(map(_modules, level))
        if {*map(type, own), *map(type, inner)} != {dict}:
            return None
        kinds.update(map(type, level))
        for each in (own, inner):
            counts += map(len, each)
            keys += chain.from_iterable(each)
        found += chain.from_iterable(map(dict.values, own))
        level = list(chain.from_iterable(map(dict.values, inner)))
        if any(part is None for part in level):
            return None
    present = [one for one in found if one is not None]
    return kinds, keys, counts, list(map(id, found)), list(map(_requires_grad, present))
