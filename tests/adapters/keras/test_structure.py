"""Models whose structure changes between saves, and the plans that are kept until it does."""

import random

import keras
import numpy as np
import pytest

from ckpt_callbacks.formats.keras.suffix import KERAS, WEIGHTS
from ckpt_callbacks.keras.model import walk
from ckpt_callbacks.keras.model.structure import ModelStructure
from ckpt_callbacks.keras.staging import KerasStaging
from tests.adapters.keras.staged import CARRIED, by_keras, contents, disturb, trained_a_little, written
from tests.adapters.keras.task import BACKEND, ONCE, fit, quick

_elsewhere = {"power": 1}


@keras.saving.register_keras_serializable("test_structure")
class Own(keras.layers.Layer):
    """A layer of a user, with all that a walk through a model may depend on."""

    def __init__(self, sizes=(4,), first=None, **settings):
        super().__init__(**settings)
        self.sizes, self.turn, self.notes = list(sizes), 0, {"scale": 1.0}
        self.parts = [keras.layers.Dense(size, name=f"part{number}") for number, size in enumerate(self.sizes)]
        self.spare = {"a": keras.layers.Dense(4), "b": keras.layers.Dense(4)}
        self.table = np.arange(3.0)
        self.spare_parts = {"_losses": [keras.optimizers.SGD()]}

    def build(self, shape):
        for layer in (*self.parts, *self.spare.values()):
            layer.build(shape)
        self.extra = self.add_weight(shape=(2,), name="extra")

    def call(self, x):
        return self.parts[0](x)

    @property
    def aside(self):
        return _hidden[self.turn]

    def get_config(self):
        noted = {"sizes": self.sizes, "notes": self.notes, "table": self.table.tolist(), **_elsewhere}
        return super().get_config() | noted


@keras.saving.register_keras_serializable("test_structure")
class Mine(keras.optimizers.Adam):
    """An optimizer of a user's class."""


class Sharing(keras.layers.Layer):
    """A layer whose part belongs to the class."""

    part = keras.layers.Dense(2)

    def call(self, x):
        return x


class Wrapping(keras.layers.TorchModuleWrapper):
    """A layer that writes the torch module that it wraps into its configuration."""

    def __init__(self):
        keras.layers.Layer.__init__(self)


_hidden = [keras.layers.Dense(2, name="zero"), keras.layers.Dense(3, name="one")]


def steep(x):
    return 2 * x


def scaled(x, history):
    return x * history


def made():
    for layer in _hidden:
        if not layer.built:
            layer.build((None, 2))
    x = made = keras.Input((4,))
    x = keras.layers.Dense(4, steep, kernel_regularizer=keras.regularizers.L2(0.1), name="dense")(x)
    x = keras.layers.Lambda(scaled, arguments={"history": 1.0}, name="scaled")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5, seed=1, name="drop")(x)
    one = keras.Model(made, keras.layers.Dense(1, name="head")(Own(name="own")(x)), name="changing")
    one.compile(keras.optimizers.Adam(0.01), "mse")
    return trained_a_little(one)


def recompiled(one, *arguments, **settings):
    one.compile(*arguments, **settings)
    trained_a_little(one)


def halved_rate(one):
    rate = getattr(one.optimizer, "inner_optimizer", one.optimizer)._learning_rate
    if isinstance(rate, keras.Variable):
        rate.assign(rate / 2)


def own_weight(one):
    layer = one.get_layer("own")
    layer._tracker.unlock()
    layer.extra = layer.add_weight(shape=(3,), name="extra")


def list_item(one):
    layer = keras.layers.Dense(5)
    layer.build((None, 2))
    one.get_layer("own")._tracker.unlock()
    one.get_layer("own").parts.append(layer)


def turned(one):
    spare = one.get_layer("own").spare
    spare["a"], spare["b"] = spare["b"], spare["a"]


CHANGES = {
    "nothing": lambda one: None,
    "the values": lambda one: [variable.assign(variable + 1.0) for variable in one.trainable_variables],
    "the learning rate": halved_rate,
    "an optimizer's number": lambda one: setattr(
        one.optimizer, "weight_decay", 0.01 + (one.optimizer.weight_decay or 0)
    ),
    "another optimizer": lambda one: recompiled(one, keras.optimizers.SGD(0.1, momentum=0.9), "mse"),
    "an optimizer with a schedule": lambda one: recompiled(
        one, keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 100)), "mae", metrics=["mse"]
    ),
    "an optimizer in an optimizer": lambda one: recompiled(
        one, keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "mse"
    ),
    "a layer's number": lambda one: setattr(one.get_layer("drop"), "rate", one.get_layer("drop").rate / 2),
    "a number that equals the old one": lambda one: setattr(one.get_layer("norm"), "axis", -1 * 1),
    "an inner object's number": lambda one: setattr(one.get_layer("dense").kernel_regularizer, "l2", 0.3),
    "an inner object": lambda one: setattr(one.get_layer("dense"), "bias_initializer", keras.initializers.Ones()),
    "a layer's flag": lambda one: setattr(one.get_layer("norm"), "trainable", not one.get_layer("norm").trainable),
    "a variable's flag": lambda one: setattr(one.get_layer("dense").bias, "trainable", False),
    "a policy": lambda one: setattr(one.get_layer("drop"), "dtype_policy", keras.DTypePolicy("mixed_bfloat16")),
    "a name": lambda one: setattr(one, "_name", f"{one.name}x"),
    "a variable": own_weight,
    "an item of a list": list_item,
    "the order of a dict's values": turned,
    "what a property returns": lambda one: setattr(one.get_layer("own"), "turn", 1 - one.get_layer("own").turn),
    "an item of a plain list": lambda one: one.get_layer("own").sizes.append(7),
    "an item of a plain dict": lambda one: one.get_layer("own").notes.update({"scale": 2.0}),
    "an array in place": lambda one: one.get_layer("own").table.__iadd__(1.0),
    "what only its configuration refers to": lambda one: _elsewhere.update(power=_elsewhere["power"] + 1),
    "an optimizer in a list that is named like one of Keras": lambda one: (
        one.get_layer("own").spare_parts["_losses"].append(keras.optimizers.SGD())
    ),
    "an item that is named like an attribute of Keras": lambda one: one.get_layer("scaled").arguments.update(
        {"history": one.get_layer("scaled").arguments["history"] + 1}
    ),
    "a function's name": lambda one: setattr(steep, "__name__", f"{steep.__name__}x"),
    "LoRA": lambda one: one.get_layer("head").lora_enabled or one.get_layer("head").enable_lora(1),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_files_of_a_model_that_changes_between_saves_are_those_that_keras_would_write(tmp_path, caplog, seed):
    one, taken = made(), KerasStaging()
    order = [*CHANGES] * 2 if seed else [*CHANGES]
    random.Random(seed).shuffle(order)
    for number, change in enumerate(["nothing", *order]):
        CHANGES[change](one)
        for suffix in (KERAS, WEIGHTS):
            theirs = by_keras(one, tmp_path / f"keras{number}{suffix}")
            snapshot = taken.stage(one, suffix, CARRIED)
            kept = [variable + 0 for variable in one.variables]
            disturb(one)
            assert written(snapshot, ours := tmp_path / f"ours{number}{suffix}").digest is not None, (change, order)
            assert contents(ours) == theirs, (change, order)
            for variable, value in zip(one.variables, kept, strict=True):
                variable.assign(value)
    assert not caplog.messages


@ONCE
@pytest.mark.parametrize("kind", [set, list])
def test_an_object_more_in_a_set_or_in_the_list_of_losses_is_another_structure(kind):
    one = quick()
    layer = one.layers[0]
    layer._tracker.unlock()
    if kind is set:
        layer.chosen = {keras.optimizers.SGD()}
    held = layer.chosen if kind is set else layer._losses
    structure = ModelStructure(one)
    assert structure.is_current()
    if kind is list:
        held.append(keras.ops.ones(()))  # as training does
        assert structure.is_current()
    getattr(held, "add" if kind is set else "append")(keras.optimizers.SGD())
    assert not structure.is_current()


@ONCE
def test_the_shape_of_an_array_and_what_a_wrapped_module_holds_are_not_missed():
    one = quick()
    one.layers[0]._tracker.unlock()
    one.layers[0].table = np.arange(6.0)
    structure = ModelStructure(one)
    assert structure.is_current()
    one.layers[0].table.resize((2, 3), refcheck=False)
    assert not structure.is_current()
    one.layers[0].inner = Wrapping()
    assert not ModelStructure(one).is_current()


@ONCE
def test_a_layer_that_belongs_to_a_class_may_get_its_variables_later(tmp_path):
    one, taken = keras.Sequential([keras.Input((3,)), Sharing()], name="sharing"), KerasStaging()
    for number in range(3):
        if number:
            Sharing.part = keras.layers.Dense(2)
            Sharing.part.build((None, 3))
        written(taken.stage(one, WEIGHTS, CARRIED), ours := tmp_path / f"ours{number}.weights.h5")
        assert contents(ours) == by_keras(one, tmp_path / f"keras{number}.weights.h5")


@ONCE
def test_the_configuration_has_the_rate_of_the_save(tmp_path, caplog):
    for number, made in enumerate((keras.optimizers.Adam, Mine)):
        one, taken = trained_a_little(quick(optimizer=made(0.1))), KerasStaging()
        for rate in (0.1, 0.5, float("inf"), float("nan")):
            one.optimizer.learning_rate = rate
            written(taken.stage(one, KERAS, CARRIED), ours := tmp_path / f"ours{number}{rate}.keras")
            assert contents(ours) == by_keras(one, tmp_path / f"keras{number}{rate}.keras")
            assert str(keras.saving.load_model(ours).optimizer.get_config()["learning_rate"])[:3] == str(rate)[:3]
    assert not caplog.messages


@pytest.mark.skipif(BACKEND == "torch", reason="Keras gives a model new objects at each fit")
def test_a_model_that_only_trains_is_walked_once(tmp_path, monkeypatch):
    one, taken, walks = quick(), KerasStaging(), []
    real = walk.saving_lib._save_state
    monkeypatch.setattr(walk.saving_lib, "_save_state", lambda one, *a, **k: (walks.append(one), real(one, *a, **k)))
    for number in range(3):
        fit(one, epochs=1)
        one.optimizer.learning_rate = 0.1 / (1 + number)
        written(taken.stage(one, KERAS, CARRIED), tmp_path / f"{number}.keras")
    assert walks.count(one) == 1
