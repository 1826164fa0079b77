"""The structure of a model: all that determines its file, except the values of its variables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import chain
from operator import attrgetter, is_
from types import FunctionType
from typing import Any

import keras
import numpy as np
from keras.src.ops.node import Node
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils.tracking import Tracker

from .objects import variable_types

_FRAMEWORKS = {"keras", "tensorflow", "torch", "builtins", "abc", "typing"}  # packages without the user's classes
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
# Objects that nothing changes in place, or of which nothing is saved.
_LEAVES = (type, keras.callbacks.Callback, keras.KerasTensor, keras.layers.InputSpec, Node, Tracker)
# Classes in `keras.src.utils` whose configuration depends on more than their attributes. On JAX, the base class of all
# layers has one of these names, too.
_OPAQUE = {"FlaxLayer", "JaxLayer", "NNXLayer", "TorchModuleWrapper"}
_CONFIGS = ("get_config", "get_build_config", "get_compile_config")
# Attributes of Keras' own layers and models that training sets anew, and that no file holds.
_PASSING = {
    "_eval_epoch_iterator", "_jax_state", "_jax_state_synced", "_losses_override", "_torch_params", "history",
    "predict_function", "stop_evaluating", "stop_predicting", "stop_training", "test_function", "train_function",
}  # fmt: skip
# Attributes of Keras' own layers whose contents training changes; a user's list may have the same name.
_UNREAD = {"_loss_ids", "_losses"}
_SAVED = (KerasSaveable, keras.Variable, list, tuple, dict, set)  # what such a user's list may hold
_LARGE = 1 << 20  # bytes of an array; comparing more would take as long as serialising the configuration

_declared = attrgetter("_trainable", "_path", "_shape", "_dtype")  # of a variable
_named = attrgetter("__module__", "__name__", "__code__")  # of a function


class ModelStructure:
    """The objects that a model reaches, their contents, and a check whether these have changed.

    All these objects are kept alive, so no identity is used twice. Attributes and items are compared by identity, and
    plain values by value. Objects of the user's own classes are asked again for their configuration. If neither is
    enough, the structure never counts as current.

    Args:
        model: The model.

    Attributes:
        facts: The results that depend on this structure; see `unchanged`.
    """

    def __init__(self, model: keras.Model) -> None:
        self.facts: dict[Any, Any] = {}
        self._model = model
        self._is_opaque = False
        self._holders: list[Any] = []  # objects whose attributes are compared
        self._dicts: list[dict[Any, Any]] = []  # these attributes, and other dicts
        self._partial: list[_PartialDict] = []
        self._lists: list[Collection[Any]] = []  # and sets, which keep their order while nothing changes
        self._unread: list[Collection[Any]] = []  # ignored as long as they hold nothing that is saved
        self._wrapped: list[tuple[Any, Any]] = []
        self._variables: list[keras.Variable] = []
        self._functions: list[tuple[FunctionType, Any]] = []
        self._arrays: list[tuple[np.ndarray, object]] = []
        self._answers: list[tuple[Callable[[], Any], Any]] = []  # of the user's own classes
        self._reach(model)
        self._types, self._vars = list(map(type, self._holders)), list(map(vars, self._holders))
        self._sizes = self._now_sizes()
        self._keys, self._values, self._items = (
            list(self._now_keys()),
            list(self._now_values()),
            list(self._now_items()),
        )
        self._declared = list(map(_declared, self._variables))

    def is_of(self, model: keras.Model) -> bool:
        """Return whether this is the structure of ``model``."""
        return self._model is model

    def is_current(self) -> bool:
        """Return whether the model still has this structure. The user's own code may raise any exception."""
        return (
            not self._is_opaque
            and all(map(is_, map(type, self._holders), self._types))
            and all(map(is_, map(vars, self._holders), self._vars))
            and self._now_sizes() == self._sizes
            and _are_same(self._now_keys, self._keys)
            and _are_same(self._now_values, self._values)
            and _are_same(self._now_items, self._items)
            and all(one.is_same() for one in self._partial)
            and all(map(_is_unread, self._unread))
            and all(one.__wrapped__ is held for one, held in self._wrapped)
            and all(_named(one) == held for one, held in self._functions)
            and list(map(_declared, self._variables)) == self._declared
            and all(_content(one) == held for one, held in self._arrays)
            and all(_equal(_answer(ask), held) for ask, held in self._answers)
        )

    def _now_sizes(self) -> list[int]:
        return [*map(len, self._dicts), *map(len, self._lists)]

    def _now_keys(self) -> Iterator[Any]:
        return chain.from_iterable(self._dicts)

    def _now_values(self) -> Iterator[Any]:
        return chain.from_iterable(map(dict.values, self._dicts))

    def _now_items(self) -> Iterator[Any]:
        return chain.from_iterable(self._lists)

    def _reach(self, model: keras.Model) -> None:
        variables, kinds, seen = variable_types(), dict[type, str](), dict[int, Any]()
        left: list[Any] = [model]
        while left and not self._is_opaque:
            one = left.pop()
            if (kind := kinds.get(type(one))) is None:
                kind = kinds[type(one)] = _kind(type(one), variables)
            if kind and id(one) not in seen:
                seen[id(one)] = one
                left += self._keep(kind, one)

    def _keep(self, kind: str, one: Any) -> Iterable[Any]:
        """Note the contents of an object, and return them."""
        if kind == "list":
            self._lists.append(one)
            return iter(one)
        if kind == "tuple":
            return iter(one)
        if kind == "dict":
            self._dicts.append(one)
            return one.values()
        if kind == "wrapper":
            self._wrapped.append((one, one.__wrapped__))
            return (one.__wrapped__,)
        if kind == "variable":
            self._variables.append(one)
        elif kind == "array":
            self._is_opaque |= one.nbytes > _LARGE or one.dtype.hasobject
            self._arrays.append((one, _content(one) if one.nbytes <= _LARGE else None))
        elif kind == "function":
            self._functions.append((one, _named(one)))
            # Keras writes the code of a lambda, and the values that it refers to.
            self._is_opaque |= one.__name__ == "<lambda>" and bool(one.__closure__ or one.__defaults__)
        else:
            return self._keep_attributes(one, kind)
        return ()

    def _keep_attributes(self, one: Any, kind: str) -> Iterable[Any]:
        held = getattr(one, "__dict__", None)
        self._is_opaque |= kind == "opaque" or (held is not None and not held.keys().isdisjoint(_CONFIGS))
        if held is None or self._is_opaque:
            return ()
        self._holders.append(one)
        found = self._keep_layer(held) if isinstance(one, keras.layers.Layer) else self._keep("dict", held)
        return [*found, *(self._ask(one) if kind == "asked" else ())]

    def _keep_layer(self, held: dict[str, Any]) -> Iterable[Any]:
        """Note the attributes of a layer or a model, except those that training changes, and return them."""
        if _PASSING.isdisjoint(held):
            self._dicts.append(held)
        else:
            self._partial.append(_PartialDict(held))
        unread = {name: value for name, value in held.items() if name in _UNREAD and _is_unread(value)}
        self._unread += unread.values()
        return [value for name, value in held.items() if name not in unread and not _passes(name, value)]

    def _ask(self, one: Any) -> Iterable[Any]:
        """Note the answers of an object of a user's class, and return them."""
        asked: list[Callable[[], Any]] = [
            getattr(one, name) for name in _CONFIGS if not is_framework(getattr(type(one), name, _CONFIGS))
        ]
        for base in type(one).__mro__:
            if not is_framework(base):  # Keras' walk also visits what properties return
                names = (name for name, value in vars(base).items() if _may_hold(name, value))
                asked += [partial(_visited, one, name) for name in names]
        found = [(ask, _answer(ask)) for ask in asked]
        self._answers += [(ask, _frozen(answer)) for ask, answer in found]
        return [answer for _, answer in found]


class _PartialDict:
    """The attributes of a layer, of which some are ignored, because training sets them anew; see `_passes`.

    Args:
        whole: The attributes.
    """

    def __init__(self, whole: dict[str, Any]) -> None:
        self._whole = whole
        self._names = [name for name, value in whole.items() if not _passes(name, value)]
        self._all = list(whole)
        self._values = [whole[name] for name in self._names]

    def is_same(self) -> bool:
        """Return whether all other attributes are still the same."""
        whole = self._whole
        if list(whole) != self._all:
            if [name for name, value in whole.items() if not _passes(name, value)] != self._names:
                return False
            self._all = list(whole)
        return _are_same(lambda: map(whole.__getitem__, self._names), self._values)


def _kind(type_: type, variables: tuple[type, ...]) -> str:
    """Return how objects of a type are compared; an empty string if only by identity."""
    if issubclass(type_, (*_PLAIN, *_LEAVES)):
        return ""
    for kind, types in (("list", (list, set, frozenset)), ("tuple", tuple), ("dict", dict), ("array", np.ndarray)):
        if issubclass(type_, types):
            return kind
    if issubclass(type_, variables):
        return "variable" if issubclass(type_, keras.Variable) else ""
    if issubclass(type_, FunctionType):
        return "function"
    if hasattr(type_, "__wrapped__"):
        return "wrapper"  # TensorFlow wraps dicts and tuples
    if any(base.__name__ in _OPAQUE and base.__module__.startswith("keras.src.utils.") for base in type_.__mro__):
        return "opaque"
    if type_.__module__.startswith("keras.src."):
        return "holder"
    return "asked" if issubclass(type_, KerasSaveable) or hasattr(type_, "get_config") else ""


def is_framework(one: Any) -> bool:
    """Return whether a class or a function is not the user's own."""
    return str(getattr(one, "__module__", "builtins")).partition(".")[0] in _FRAMEWORKS


def _passes(name: Any, value: Any) -> bool:
    if name not in _PASSING:
        return False
    # A user's own attribute may have one of the other names.
    return name[0] == "_" or not isinstance(value, KerasSaveable | list | tuple | dict)


def _is_unread(value: Any) -> bool:
    return isinstance(value, list | set) and not any(isinstance(item, _SAVED) for item in value)


def _content(array: np.ndarray) -> object:
    return array.shape, array.dtype, array.tobytes()


def _may_hold(name: str, value: Any) -> bool:
    """Return whether an attribute of a class may hold what Keras' walk would visit, such as a property or a layer."""
    return name[:2] != "__" and (not callable(value) or isinstance(value, KerasSaveable))


def _visited(one: Any, name: str) -> Any:
    """Return an attribute if it holds what Keras' walk would visit."""
    value = getattr(one, name)
    return value if isinstance(value, KerasSaveable | list | tuple | dict) else None


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # the user's code
        return type(error)


def _frozen(value: Any) -> Any:
    """Return a copy of containers and arrays, which can change in place."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_frozen(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value


def _equal(value: Any, held: Any) -> bool:
    """Return whether a value is equal to what `_frozen` returned."""
    if isinstance(value, dict):
        return type(held) is dict and list(value) == list(held) and all(map(_equal, value.values(), held.values()))
    if isinstance(value, list | tuple):
        return type(held) is list and len(value) == len(held) and all(map(_equal, value, held))
    if isinstance(value, np.ndarray):
        return type(held) is np.ndarray and _content(value) == _content(held)
    return value is held or _is_same_plain(value, held)


def _is_same_plain(value: Any, held: Any) -> bool:
    return type(value) is type(held) and isinstance(value, _PLAIN) and repr(value) == repr(held)


def _are_same(now: Callable[[], Iterator[Any]], held: list[Any]) -> bool:
    """Return whether as many values as before are the same. If so, keep the current ones in ``held``."""
    if all(map(is_, now(), held)):
        return True
    values = list(now())
    if not all(value is old or _is_same_plain(value, old) for value, old in zip(values, held, strict=True)):
        return False
    held[:] = values
    return True
