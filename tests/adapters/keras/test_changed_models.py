"""Models that change between saves: plain Keras loads from each file what the model was at that moment."""

import itertools
import json

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks.formats.keras.suffix import KERAS
from ckpt_callbacks.keras.staging import KerasStaging
from tests.adapters.keras.staged import CARRIED, by_keras, contents, disturb, trained_a_little, written

_numbers = itertools.count()


@keras.saving.register_keras_serializable("test_changed_models")
class Pair(keras.layers.Layer):
    """A layer of a user: two layers that may be one and the same, and variables that no step changes."""

    def __init__(self, tied=True, sizes=(2,), **settings):
        super().__init__(**settings)
        self.tied, self.sizes = tied, list(sizes)
        self.first = keras.layers.Dense(4, name="first")
        self.second = self.first if tied else keras.layers.Dense(4, name="second")

    def build(self, shape):
        self.first.build(shape)
        if not self.tied:
            self.second.build(shape)
        self.buffers = [self.buffer(size) for size in self.sizes]

    def buffer(self, size):
        return self.add_weight(shape=(size,), trainable=False, name="buffer")

    def call(self, x):
        return self.second(self.first(x))

    def get_config(self):
        return super().get_config() | {"tied": self.tied, "sizes": self.sizes}


@keras.saving.register_keras_serializable("test_changed_models")
class Mine(keras.optimizers.Adam):
    """An optimizer of a user's class."""


class Changing:
    """A small compiled model, which is changed in many ways."""

    def __init__(self):
        layers = [keras.layers.Dense(4, name="a"), keras.layers.BatchNormalization(name="norm"), Pair(name="pair")]
        self.model = keras.Sequential([keras.Input((4,)), *layers], name="changing")
        self.compile(keras.optimizers.Adam(0.01))

    def compile(self, optimizer, **settings):
        self.model.compile(optimizer, "mse", **settings)
        trained_a_little(self.model)

    @property
    def pair(self):
        return self.model.get_layer("pair")

    def add_a_layer(self):
        self.model.add(keras.layers.Dense(next(_numbers) % 5 + 2, name=f"layer{next(_numbers)}"))
        self.compile(keras.optimizers.Adam(0.02))

    def replace_a_layer_by_one_of_its_name(self):
        if len(self.model.layers) > 3:
            name = self.model.layers[-1].name
            self.model.pop()
            self.model.add(keras.layers.Dense(next(_numbers) % 5 + 2, "relu", name=name))
            self.compile(keras.optimizers.SGD(0.1, momentum=0.9))

    def untie(self):
        if self.pair.tied:
            self.pair._tracker.unlock()
            self.pair.second, self.pair.tied = keras.layers.Dense(4, name="second"), False
            self.pair.second.build((None, 4))
            self.compile(keras.optimizers.Adam(0.03))

    def tie(self):
        if not self.pair.tied:
            self.pair._tracker.unlock()
            self.pair._layers.remove(self.pair.second)
            self.pair.second, self.pair.tied = self.pair.first, True
            self.compile(keras.optimizers.Adam(0.04))

    def register_a_buffer(self):
        self.pair._tracker.unlock()
        self.pair.sizes.append(next(_numbers) % 5 + 1)
        self.pair.buffers.append(self.pair.buffer(self.pair.sizes[-1]))

    def freeze(self):
        layer = self.model.get_layer("a")
        layer.trainable = not layer.trainable
        self.compile(keras.optimizers.Adam(0.05))

    def compile_without_a_state(self):
        self.model.compile(Mine(0.01), "mse")

    def state_of_the_optimizer_appears(self):
        if not self.model.optimizer.built:
            trained_a_little(self.model)

    def compile_with_metrics(self):
        self.compile(keras.optimizers.RMSprop(0.1), metrics=["mae", keras.metrics.RootMeanSquaredError()])

    def compile_with_a_users_optimizer(self):
        self.compile(Mine(0.01, use_ema=True))

    def change_the_rate(self):
        self.model.optimizer.learning_rate = float(next(_numbers))

    def an_infinite_rate(self):
        self.model.optimizer.learning_rate = float("inf")

    def change_a_number(self):
        self.model.get_layer("norm").momentum /= 2

    def train(self):
        for variable in self.model.variables:
            variable.assign(variable + 1)

    def check(self, taken, path):
        """Save, overwrite all variables, and compare what Keras loads from the file with what they were."""
        model, path = self.model, path.with_name(f"{next(_numbers)}.keras")
        theirs, config = by_keras(model, path.with_suffix(".theirs.keras")), json.dumps(model.get_config())
        held = [model.weights, model.optimizer.variables]
        expected = [[np.array(keras.ops.convert_to_numpy(variable)) for variable in part] for part in held]
        snapshot = taken.stage(model, KERAS, CARRIED)
        disturb(model)
        assert written(snapshot, path).digest is not None
        assert contents(path) == theirs
        loaded = keras.saving.load_model(path)
        assert json.dumps(loaded.get_config()) == config
        assert type(loaded.optimizer) is type(model.optimizer)
        assert len(loaded.trainable_variables) == len(model.trainable_variables)
        parts = [loaded.weights, loaded.optimizer.variables] if model.optimizer.built else [loaded.weights]
        for found, values in zip(parts, expected, strict=False):
            for variable, value in zip(found, values, strict=True):
                assert np.array_equal(keras.ops.convert_to_numpy(variable), value), variable.path
        for part, values in zip(held, expected, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)


CHANGES = [name for name in vars(Changing) if name[0] != "_" and name not in ("compile", "pair", "check")]


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=8))
def test_a_file_holds_the_model_after_any_changes(tmp_path_factory, changes):
    changing, taken, path = Changing(), KerasStaging(), tmp_path_factory.mktemp("saves") / "a.keras"
    for change in changes:
        changing.check(taken, path)
        getattr(changing, change)()
    changing.check(taken, path)


QUICK = ["compile_without_a_state", "state_of_the_optimizer_appears", "untie", "register_a_buffer", "an_infinite_rate"]


@pytest.mark.parametrize("changes", [QUICK, pytest.param(CHANGES, marks=pytest.mark.slow)], ids=["quick", "all"])
def test_a_file_holds_the_model_after_each_change(tmp_path, caplog, changes):
    changing, taken = Changing(), KerasStaging()
    changing.check(taken, tmp_path / "a.keras")
    for change in changes:
        getattr(changing, change)()
        changing.check(taken, tmp_path / "a.keras")
    assert not caplog.messages
