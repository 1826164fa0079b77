"""Generated scripts for Keras, on TensorFlow."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from ckpt_callbacks import Every, Improves, KeepLast, Metric, Policy
from ckpt_callbacks.keras import KerasCheckpoint
from tests.system.generated.script import BATCHES, EPOCHS, Choices, Script
from tests.system.soak.digest import digest

SIZE = 8  # rows of a batch
VAL = Metric("val_loss", mode="min")
CHOICES = Choices(
    actions={
        "on_train_begin": ("consume",),
        "on_epoch_begin": ("lower the rate", "consume", "shrink"),
        "on_train_batch_begin": ("consume", "shrink"),
        "on_train_batch_end": ("consume", "average", "shrink"),
        "on_test_begin": ("consume", "swap"),
        "on_epoch_end": ("consume", "average", "shrink", "lower the rate"),
        "on_train_end": ("consume", "load averages"),
    },
    schedules=("none", "relative", "epoch", "plateau", "decay"),
    loaders=("arrays", "dataset", "tf.data"),
)
SAVES = {
    "epochs": Every(epochs=1),
    "steps": Every(steps=2),
    "improves": Improves(VAL),
    "both": Every(epochs=1) | Every(steps=3) | Improves(VAL),
}


class Averages(keras.layers.Layer):
    """Keeps averages of other layers' weights as weights of its own, so that a checkpoint contains them."""

    def __init__(self, layers: list[keras.layers.Layer], **settings: Any) -> None:
        super().__init__(**settings)
        self._kept_of = layers

    def build(self, shape: Any) -> None:
        self.kept = [
            self.add_weight(shape=weight.shape, initializer="zeros", trainable=False, name=f"kept_{n}")
            for n, weight in enumerate(self.sources())
        ]

    def call(self, x: Any) -> Any:
        return x

    def sources(self) -> list[keras.Variable]:
        return [weight for layer in self._kept_of for weight in layer.trainable_weights]

    def average(self) -> None:
        for kept, weight in zip(self.kept, self.sources(), strict=True):
            kept.assign(0.9 * kept + 0.1 * weight)

    def swap(self) -> None:
        for kept, weight in zip(self.kept, self.sources(), strict=True):
            value = np.array(kept)
            kept.assign(weight)
            weight.assign(value)


class Network(keras.Model):
    """A network with dropout and batch normalization. With several optimizers, each trains a part of the weights."""

    def __init__(self, script: Script) -> None:
        super().__init__(name="network")
        hidden = keras.layers.Dense(6, "relu")
        norm, drop = keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)
        out = keras.layers.Dense(10, "softmax")
        self.averages = Averages([hidden, norm, out])
        self.chain = [hidden, norm, drop, out, self.averages]
        several = script.optimizers > 1  # in addition to the compiled one, as in a GAN
        self.others = [keras.optimizers.Adam(0.01) for _ in range(script.optimizers if several else 0)]
        for layer, shape in zip(self.chain, ((None, 64), (None, 6), (None, 6), (None, 6), (None, 10)), strict=True):
            layer.build(shape)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        for layer in self.chain:
            x = layer(x, training=training) if "Dropout" in layer.__class__.__name__ or (
                "Normalization" in layer.__class__.__name__
            ) else layer(x)  # fmt: skip
        return x

    def train_step(self, data: Any) -> Any:
        if not self.others:
            return super().train_step(data)
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True), training=True)
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        for number, optimizer in enumerate(self.others):
            part = slice(number, None, len(self.others))
            optimizer.apply(gradients[part], variables[part])
        self._loss_tracker.update_state(loss)
        return self.get_metrics_result()


class Sibling(keras.callbacks.Callback):
    """A callback of the script's own."""

    def __init__(self, hooks: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._hooks = dict(hooks)

    def _perform(self, hook: str) -> None:
        action, averages = self._hooks.get(hook), self.model.averages
        if action in ("swap", "load averages"):
            averages.swap()
        elif action == "consume":
            np.random.rand()
        elif action == "average":
            averages.average()
        elif action == "lower the rate" and not callable(getattr(self.model.optimizer, "_learning_rate", None)):
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) * 0.9
        elif action == "shrink":
            for weight in averages.sources():
                weight.assign(weight * 0.999)

    def on_train_begin(self, logs: Any = None) -> None:
        self._perform("on_train_begin")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._perform("on_epoch_begin")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._perform("on_train_batch_begin")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._perform("on_train_batch_end")

    def on_test_begin(self, logs: Any = None) -> None:
        self._perform("on_test_begin")

    def on_test_end(self, logs: Any = None) -> None:
        if self._hooks.get("on_test_begin") == "swap":
            self.model.averages.swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._perform("on_epoch_end")

    def on_train_end(self, logs: Any = None) -> None:
        self._perform("on_train_end")


class Killer(keras.callbacks.Callback):
    """Kills the process before the batch of this number."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._left = batch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


class Batches(keras.utils.PyDataset):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__(workers=1)
        self.x, self.y = x, y

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * SIZE, (index + 1) * SIZE)
        return self.x[part], self.y[part]


def data_of(script: Script, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    if script.loader == "arrays":
        return {"x": x, "y": y, "batch_size": SIZE}
    if script.loader == "dataset":
        return {"x": Batches(x, y)}
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(SIZE)}


def schedules(script: Script) -> list[keras.callbacks.Callback]:
    if script.schedule == "relative":
        return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8)]
    if script.schedule == "epoch":
        return [keras.callbacks.LearningRateScheduler(lambda epoch: 0.02 / (1 + epoch))]
    if script.schedule == "plateau":
        return [keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=1.0)]
    return []


def train(script: Script, dirpath: Path, kill: int | None) -> dict[str, Any]:
    """Train the script from its newest checkpoint on, and return its final state."""
    keras.utils.set_random_seed(script.seed)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    rows = SIZE * BATCHES
    model = Network(script)
    rate = keras.optimizers.schedules.CosineDecay(0.02, 20) if script.schedule == "decay" else 0.02
    accumulate = {"gradient_accumulation_steps": script.accumulate} if script.accumulate > 1 else {}
    model.compile(
        keras.optimizers.Adam(rate, **accumulate), "sparse_categorical_crossentropy", run_eagerly=True,
    )  # fmt: skip
    ckpt = KerasCheckpoint(dirpath, Policy(SAVES[script.save], KeepLast(3)))
    siblings = [Sibling(script.model), *schedules(script), Sibling(script.callback)]
    callbacks = [*siblings, ckpt] if script.is_first else [ckpt, *siblings]
    history = model.fit(
        **data_of(script, x[:rows], y[:rows]), epochs=EPOCHS, verbose=0,
        validation_data=(x[rows : rows + 16], y[rows : rows + 16]),
        callbacks=callbacks + ([] if kill is None else [Killer(kill)]),
    )  # fmt: skip
    best = ckpt.best()
    optimizers = model.others or [model.optimizer]
    return {
        "weights": digest([np.array(weight) for weight in model.weights]),
        "optimizers": digest([np.array(variable) for one in optimizers for variable in one.variables]),
        "metrics": {name: values[-1] for name, values in history.history.items()} if history.history else None,
        "best": None if best is None else [best.step, best.epoch, dict(best.metrics)],
    }
