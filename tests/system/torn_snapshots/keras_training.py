"""A Keras training run on ``KERAS_BACKEND`` in which every saved value is its step."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.keras import own_arrays
from ckpt_callbacks.keras import KerasCheckpoint
from ckpt_callbacks.keras.arrays import from_json
from ckpt_callbacks.record import Record
from tests.support.training import run_of
from tests.system.torn_snapshots.pace import BATCHES, FastClock, Moments, Pace

RATE = "optimizer/vars/1"  # the only value in a file that is not a step


@keras.saving.register_keras_serializable("hunt")
class Stamp(keras.optimizers.Optimizer):
    """An optimizer that sets each variable, and its slot, to the number of the step."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self._slots = [self.add_variable_from_reference(variable, "slot") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        for one in (variable, self._slots[self._get_variable_index(variable)]):
            count = keras.ops.cast(self.iterations + 1, one.dtype)
            self.assign(one, keras.ops.broadcast_to(count, one.shape))


@keras.saving.register_keras_serializable("hunt")
class Everything(keras.layers.Layer):
    """A layer with weights of several sizes, its own counter, and an array that is not a variable."""

    def build(self, shape: Any) -> None:
        self.large = self.add_weight(shape=(300, 300), initializer="zeros")
        self.small = self.add_weight(shape=(7,), initializer="zeros")
        self.scalar = self.add_weight(shape=(), initializer="zeros")
        self.counter = self.add_weight(shape=(3,), dtype="int32", initializer="zeros", trainable=False)
        self.array = np.zeros(2000)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.counter.assign(self.counter + 1)
        return x * (keras.ops.sum(self.large) + keras.ops.sum(self.small) + self.scalar)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["array"] = self.array

    def load_own_variables(self, store: Any) -> None:
        self.array = np.array(store["array"])
        super().load_own_variables({key: store[key] for key in store.keys() if key != "array"})  # noqa: SIM118


class Noting(keras.callbacks.Callback):
    """A callback that counts steps, and returns its state uncopied, which it changes later."""

    def __init__(self, layer: Everything, pace: Pace, moments: Moments, dirpath: Path) -> None:
        super().__init__()
        self.count, self.list, self.array = 0, [0, [0]], np.zeros(99)  # large enough to be held beside the JSON values
        self._layer, self._pace, self._moments, self._dirpath = layer, pace, moments, dirpath

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.count += 1
        self.list[0] = self.list[1][0] = self.count
        self.array[...] = self._layer.array[...] = self.count
        self._moments.wish(self._dirpath, self.count)
        self._pace.advance(self.count)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "list": self.list, "array": self.array}

    def load_state_dict(self, state: Any) -> None:
        """Do nothing: no run is resumed here."""


def train(dirpath: Path, contents: str, moments: Moments, pace: Pace) -> list[Record]:
    """Train and save, and return the records."""
    layer = Everything()
    model = keras.Sequential([keras.Input((1,)), layer], name="everything")
    model.compile(Stamp(0.5), "mse", jit_compile=False)
    ours = KerasCheckpoint(dirpath, moments.policy, contents=contents, clock=FastClock())
    noting = Noting(layer, pace, moments, dirpath)
    x = np.ones((BATCHES, 1), "float32")
    with pace.slowing(run_of(ours)):
        model.fit(x, x, batch_size=1, epochs=moments.epochs, verbose=0, callbacks=[noting, ours])
    return ours.records()


def steps_in(path: Path, contents: str) -> set[int]:
    """Return the steps that the values in a file contain."""
    found: list[Any] = []
    if contents == "full":
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            weights: Any = io.BytesIO(archive.read("model.weights.h5"))
        carried = keras_zip.read(path)
        assert carried is not None and len(carried[keras_zip.PLACES]) == 1
        (noting,) = (s["own"] for s in carried["moment"]["siblings"] if "Noting" in s["callback"])
        state = from_json(noting, own_arrays.read(path, carried[keras_zip.PLACES]))
        found += [state["count"], state["list"][0], state["list"][1][0], *np.unique(state["array"])]
        assert carried["snapshot"]["state"]["step"] == state["count"]
    else:
        weights = path
    names: list[str] = []

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "ckpt_callbacks" not in name and name != RATE:
            names.append(name)
            found.extend(np.unique(item[()]))

    with h5py.File(weights) as file:
        file.visititems(look)
    assert len(names) == (9 if contents == "full" else 5), names
    return {int(number) for number in found}
