"""Plain attributes of optimizers, models and layers that change during training."""

import keras
import numpy as np
import pytest

from tests.adapters.keras.task import ONCE, checkpoint, fit, quick

SCHEDULE = keras.optimizers.schedules.ExponentialDecay


class Sets(keras.callbacks.Callback):
    """Changes an attribute of the optimizer after the first epoch."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_epoch_end(self, epoch, logs=None):
        self.change(self.model.optimizer)


def wrapped():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01, momentum=0.9))


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize(
    ("make", "holder", "name"),
    [
        (lambda: keras.optimizers.SGD(0.01, momentum=0.9), lambda one: one, "optimizer.momentum"),
        (wrapped, lambda one: one.inner_optimizer, "optimizer/inner_optimizer.momentum"),
        pytest.param(lambda: keras.optimizers.Adam(0.01), lambda one: one, "optimizer.weight_decay",
                     marks=pytest.mark.slow),
        pytest.param(lambda: keras.optimizers.SGD(SCHEDULE(0.01, 5, 0.9)), lambda one: one._learning_rate,
                     "optimizer.learning_rate.decay_rate", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_changed_attribute_is_named_once(tmp_path, make, holder, name, caplog):
    change = Sets(lambda optimizer: setattr(holder(optimizer), name.rpartition(".")[2], 0.5))
    fit(quick(optimizer=make()), change, checkpoint(tmp_path), epochs=2)
    assert [line for line in caplog.messages if "attributes of the optimizer have changed" in line] == [
        f"{tmp_path}: attributes of the optimizer have changed in training and are not saved, so a resumed run has the "
        f"script's values unless a callback sets them again: {name}"
    ]


@pytest.mark.slow
@ONCE
def test_what_is_restored_is_not_named(tmp_path, caplog):
    rate = Sets(lambda optimizer: setattr(optimizer, "learning_rate", 0.001))
    fit(quick(), rate, checkpoint(tmp_path), epochs=2)
    assert "attributes of the optimizer" not in caplog.text


class Counts(keras.Model):
    """Counts its batches in an attribute."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(10, "softmax")
        self.start()

    def start(self):
        self.seen = 0

    def count(self):
        self.seen += 1

    def call(self, x):
        return self.dense(x)

    def train_step(self, *data):
        self.count()
        return super().train_step(*data)


class InADict(Counts):
    def start(self):
        self.seen = {"batches": 0}

    def count(self):
        self.seen["batches"] += 1


class InAnArray(Counts):
    def start(self):
        self.seen = np.zeros(3)

    def count(self):
        self.seen += 1


class InALayer(Counts):
    """Has a layer with a hidden state outside of its variables."""

    class Carries(keras.layers.Layer):
        def call(self, x):
            self.hidden = keras.ops.mean(x), 0.0
            return x

    def start(self):
        self.part = self.Carries()

    def count(self):
        self.part(keras.ops.ones((2, 2)))


class Constant(Counts):
    def count(self):
        pass


class AsAWeight(Counts):
    def start(self):
        self.seen = self.add_weight(shape=(), trainable=False, initializer="zeros")

    def count(self):
        self.seen.assign_add(1.0)


@ONCE
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Counts, "model.seen"),
        (InADict, "model.seen"),
        (InAnArray, "model.seen"),
        (InALayer, "part.hidden"),
        (Constant, None),
        (AsAWeight, None),
    ],
)
def test_a_changed_attribute_of_the_model_is_named_once(tmp_path, kind, name, caplog):
    trained = kind()
    trained.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    fit(trained, checkpoint(tmp_path), epochs=2)
    said = [line for line in caplog.messages if "attributes of the model have changed in training" in line]
    assert [line.rpartition(": ")[2] for line in said] == ([name] if name else [])
