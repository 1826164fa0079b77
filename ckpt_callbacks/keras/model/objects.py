"""The Keras objects and variables that a model holds, at any depth: in attributes, lists, tuples, dicts and layers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import keras
from keras.src.saving.keras_saveable import KerasSaveable

_HOLDERS = (KerasSaveable, keras.random.SeedGenerator)
_CONTAINERS = (list, tuple, dict)

_Fact = TypeVar("_Fact")

# The results of `structural` functions within `unchanged`, by function and model.
_facts: ContextVar[dict[Any, Any] | None] = ContextVar("facts", default=None)


@contextmanager
def unchanged(known: Callable[[], dict[Any, Any]] = dict) -> Iterator[None]:
    """Compute facts that depend on a model's structure only once within this block. No structure may change in it.

    Args:
        known: Returns the dict that keeps the results; by default, they are kept until the end of the block. An inner
            block uses the dict of the outer block.
    """
    outer = _facts.get()
    token = _facts.set(known() if outer is None else outer)
    try:
        yield
    finally:
        _facts.reset(token)


def forget() -> None:
    """Forget the results that the current block of `unchanged` keeps."""
    if (facts := _facts.get()) is not None:
        facts.clear()


def structural(function: Callable[..., _Fact]) -> Callable[..., _Fact]:
    """Call a function of a model's structure only once within `unchanged`. Callers must not change its result."""

    @functools.wraps(function)
    def known(model: keras.Model, *rest: Any) -> _Fact:
        facts = _facts.get()
        if facts is None:
            return function(model, *rest)
        key = function, id(model), *rest
        if key not in facts:
            facts[key] = function(model, *rest)
        found: _Fact = facts[key]
        return found

    return known


@structural
def objects(model: keras.Model) -> list[tuple[str, Any]]:
    """Return each Keras object and each variable that a model holds, once, with the attribute names that lead to it.

    An attribute of the model itself has its plain name, and the name of an object that it holds follows after a slash:
    ``opts/d``. The same script always gives the same names in the same order.
    """
    return list(_search(model))


@structural
def optimizers(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Return all optimizers of a model, and those inside them, by the names that lead to them."""
    return {path: one for path, one in objects(model) if isinstance(one, keras.optimizers.Optimizer)}


def _search(model: keras.Model) -> Iterator[tuple[str, Any]]:
    variables = variable_types()
    kinds: dict[type, str] = {}  # most of the values are of a few types
    seen = {id(model)}
    left: list[tuple[str, Any]] = [("", model)]
    while left:
        path, holder = left.pop()
        found: list[tuple[str, Any]] = []
        for name, value in _children(holder):
            type_ = type(value)
            if type_ not in kinds:
                kinds[type_] = _kind(type_, variables)
            kind = kinds[type_]
            if kind and id(value) not in seen:
                seen.add(id(value))
                place = f"{path}/{name}" if path else str(name)
                if kind != "container":
                    yield place, value
                if kind != "variable":
                    found.append((place, value))
        left += reversed(found)


def variable_types() -> tuple[type, ...]:
    """Return the types of variables."""
    tensorflow = sys.modules.get("tensorflow") if keras.backend.backend() == "tensorflow" else None
    return (keras.Variable,) if tensorflow is None else (keras.Variable, tensorflow.Variable)


def _kind(type_: type, variables: tuple[type, ...]) -> str:
    if issubclass(type_, variables):
        return "variable"
    if issubclass(type_, _HOLDERS):
        return "holder"
    return "container" if issubclass(type_, _CONTAINERS) else ""


def _children(holder: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(holder, list | tuple):
        return enumerate(holder)
    return (holder if isinstance(holder, dict) else vars(holder)).items()
