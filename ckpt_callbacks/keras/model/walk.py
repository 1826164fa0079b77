"""The contents of a Keras file, found by Keras' own walk through the model. Variables are recorded, not copied.

The model is walked for every snapshot, so that no layout can be out of date. This takes about 0.1 ms per layer.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.saving import saving_lib

from ...formats.keras.entries import Entry, Group
from .no_weights import NoWeights
from .objects import optimizers
from .parts import storing


@dataclass(frozen=True)
class Walk:
    """The contents of a file.

    Attributes:
        groups: The groups, in the order in which Keras creates them.
        values: For each entry, in order, the live variable, or an array that nothing else holds.
        assets: The names and contents of the files that layers save besides their variables.
    """

    groups: tuple[Group, ...]
    values: tuple[Any, ...]
    assets: tuple[tuple[str, bytes], ...] = ()


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
        found = tuple(files.contents())
    groups: list[Group] = []
    values: list[Any] = []
    for path, metadata, entries in store.made:
        groups.append(Group(path, tuple(metadata.items()), tuple(_entry(*item) for item in entries.items())))
        values += entries.values()
    return Walk(tuple(groups), tuple(values), found)


def reached(model: keras.Model) -> set[int]:
    """Return the identities of the objects that Keras' walk reaches. No code of theirs is called."""
    visited: set[int] = set()
    with _cached_skipsets():
        saving_lib._save_state(model, NoWeights(), None, "", visited)
    return visited


def config_of(model: keras.Model) -> tuple[str, str]:
    """Return the contents of an archive's ``config.json`` and ``metadata.json``."""
    return saving_lib._serialize_model_as_json(model)


class _WalkStore(saving_lib.H5IOStore):
    """A store that records what is put into it. A group that is open for writing can also be read."""

    def __init__(self) -> None:
        self.mode = "w"
        self.made: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self._by_reference = False
        self._h5_entry_group: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict[str, Any] | None = None) -> _WalkStore:
        # A user's class may change a variable, store it and change it back, so its variables are copied at once.
        method = getattr(type(sys._getframe(1).f_locals.get("saveable")), "save_own_variables", None)
        self._by_reference = str(getattr(method, "__module__", "")).startswith("keras.src.")
        self._h5_entry_group = {}
        self.made.append((path, metadata or {}, self._h5_entry_group))
        return self

    def __getitem__(self, key: str) -> Any:
        return np.asarray(self._h5_entry_group[key])

    def __setitem__(self, key: str, value: Any) -> None:
        if not (self._by_reference and isinstance(value, keras.Variable)):
            value = keras.ops.convert_to_numpy(value)  # a copy
        keras.backend.standardize_dtype(value.dtype)  # raises, as Keras does, for anything but numbers
        self._h5_entry_group[key] = value


class _Assets(saving_lib.DiskIOStore):
    """A store that creates its folder when the first layer asks for it, because most models have no assets."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> _Assets:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def make(self, path: str) -> str:
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


def _entry(key: str, value: Any) -> Entry:
    return Entry(key, np.dtype(value.dtype), tuple(value.shape))


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
