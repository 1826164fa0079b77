"""The contents of a Keras file, found by Keras' own walk through the model. Variables are recorded, not copied.

This takes about 0.1 ms per layer, so a walk is used again as long as the model has the same structure.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.saving import saving_lib

from ...formats.keras.entries import Dataset, Group
from ...formats.keras.unloaded_tensorflow import left_unloaded
from .no_weights import NoWeights
from .objects import optimizers
from .parts import storing


@dataclass(frozen=True)
class Walk:
    """The contents of a file.

    Attributes:
        groups: The groups, in the order in which Keras creates them.
        values: For each entry, in order, the live variable, or an array that nothing else holds.
        computed: The index of each group whose values are computed, and the object that computes them.
        asked: The path of each object that may save files besides its variables, and the object.
        optimizers: The paths of the groups of optimizers.
    """

    groups: tuple[Group, ...]
    values: tuple[Any, ...]
    computed: tuple[tuple[int, Any], ...] = ()
    asked: tuple[tuple[str, Any], ...] = ()
    optimizers: tuple[str, ...] = ()

    def current_values(self) -> Sequence[Any] | None:
        """Return `values`, with computed values computed again; None if this gives other entries."""
        if not self.computed:
            return self.values
        values = list(self.values)
        starts = [0, *accumulate(len(group.entries) for group in self.groups)]
        for number, saveable in self.computed:
            store, group = _WalkStore(), self.groups[number]
            saveable.save_own_variables(store.make(group.path, dict(group.metadata)))
            if store.groups() != (group,):
                return None
            values[starts[number] : starts[number + 1]] = store.values()
        return values

    def assets(self) -> tuple[tuple[str, bytes], ...]:
        """Save the files of the objects, besides their variables, and return their names and contents."""
        with _Assets() as files:
            for path, saveable in self.asked:
                saveable.save_assets(files.make(path))
            return tuple(files.contents())


def walk(model: keras.Model, *, skip: Sequence[Any] = (), assets: bool = False) -> Walk:
    """Walk through a model as Keras does when it saves it.

    Args:
        model: The model.
        skip: The objects in it to leave out.
        assets: Whether to include the files of layers, as ``.keras`` does.
    """
    store = _WalkStore()
    with _Assets() as files, storing(_usual_optimizers(model), _store_variables), _cached_skipsets():
        saving_lib._save_state(model, store, files if assets else None, "", {id(one) for one in skip})
    return Walk(
        store.groups(), tuple(store.values()), tuple(store.computed), tuple(files.asked), tuple(store.optimizers)
    )


def reached(model: keras.Model) -> set[int]:
    """Return the identities of the objects that Keras' walk reaches. No code of theirs is called."""
    visited: set[int] = set()
    with _cached_skipsets():
        saving_lib._save_state(model, NoWeights(), None, "", visited)
    return visited


def config_of(model: keras.Model) -> tuple[str, str]:
    """Return the contents of an archive's ``config.json`` and ``metadata.json``."""
    with left_unloaded():
        return saving_lib._serialize_model_as_json(model)


class _WalkStore(saving_lib.H5IOStore):
    """A store that records what is put into it. A group that is open for writing can also be read."""

    def __init__(self) -> None:
        self.mode = "w"
        self.made: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.computed: list[tuple[int, Any]] = []
        self.optimizers: list[str] = []
        self._saveable: Any = None
        self._by_reference = False
        self._h5_entry_group: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict[str, Any] | None = None) -> _WalkStore:
        # A user's class may change a variable, store it and change it back, so its variables are copied at once.
        self._saveable = sys._getframe(1).f_locals.get("saveable")
        self._by_reference = _is_keras(self._saveable)
        if isinstance(self._saveable, BaseOptimizer):
            self.optimizers.append(path)
        self._h5_entry_group = {}
        self.made.append((path, metadata or {}, self._h5_entry_group))
        return self

    def groups(self) -> tuple[Group, ...]:
        """Return the groups that were made."""
        return tuple(
            Group(path, tuple(metadata.items()), tuple(_entry(*item) for item in entries.items()))
            for path, metadata, entries in self.made
        )

    def values(self) -> list[Any]:
        """Return the values of all entries."""
        return [value for _, _, entries in self.made for value in entries.values()]

    def __getitem__(self, key: str) -> Any:
        return np.asarray(self._h5_entry_group[key])

    def __setitem__(self, key: str, value: Any) -> None:
        if not (self._by_reference and isinstance(value, keras.Variable)):
            value = keras.ops.convert_to_numpy(value)  # a copy
            self._note_computed()
        keras.backend.standardize_dtype(value.dtype)  # raises, as Keras does, for anything but numbers
        self._h5_entry_group[key] = value

    def _note_computed(self) -> None:
        place = len(self.made) - 1, self._saveable
        if place not in self.computed[-1:]:
            self.computed.append(place)


class _Assets(saving_lib.DiskIOStore):
    """A store that creates its folder when the first layer asks for it, because most models have no assets."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.asked: list[tuple[str, Any]] = []  # the path of each object that may save files, and the object

    def __enter__(self) -> _Assets:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def make(self, path: str) -> str:
        self.asked.append((path, sys._getframe(1).f_locals.get("saveable")))
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name, path)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name of each file, relative to the folder, and its bytes."""
        if self._folder is not None:
            for file in sorted(Path(self._folder.name).rglob("*")):
                if file.is_file():
                    yield file.relative_to(self._folder.name).as_posix(), file.read_bytes()


def _is_keras(saveable: Any) -> bool:
    own = vars(saveable).get("save_own_variables", saveable)
    if isinstance(own, partial) and own.func is _store_variables:
        return True
    method = getattr(type(saveable), "save_own_variables", None)
    return own is saveable and str(getattr(method, "__module__", "")).startswith("keras.src.")


def _entry(key: str, value: Any) -> Dataset:
    return Dataset(key, np.dtype(value.dtype), tuple(value.shape))


def _usual_optimizers(model: keras.Model) -> Iterator[keras.optimizers.Optimizer]:
    """Yield the optimizers whose class does not save them in its own way."""
    usual = BaseOptimizer.save_own_variables
    return (one for one in optimizers(model).values() if type(one).save_own_variables is usual)


def _store_variables(optimizer: keras.optimizers.Optimizer, store: Any) -> None:
    """Store an optimizer's variables themselves, instead of numpy copies that would be copied again."""
    for number, variable in enumerate(optimizer.variables):
        store[str(number)] = variable


@contextmanager
def _cached_skipsets() -> Iterator[None]:
    """Build each set of attributes that Keras leaves out of its walk only once for each kind of object.

    Keras 3.15 stores such a set under one name and looks for it under another, so it creates a new `Layer` for every
    layer. This takes three quarters of the time.
    """
    made: list[str] = []
    for kind in ("Operation", "Layer", "Functional", "Sequential", "Metric", "Optimizer", "Loss"):
        name = f"saving_attr_skiplist_{kind}"
        if global_state.get_global_attribute(name) is None:
            stored = global_state.get_global_attribute(f"saving_attr_skipset_{kind}")
            global_state.set_global_attribute(name, stored or saving_lib.get_attr_skipset(kind))
            made.append(name)
    try:
        yield
    finally:
        for name in made:
            global_state.set_global_attribute(name, None)
