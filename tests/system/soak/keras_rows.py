"""The Keras rows, on the backend that ``KERAS_BACKEND`` names. Each trains in a directory, and returns its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

from ckpt_callbacks import Every, KeepLast, Policy, Trigger
from ckpt_callbacks.keras import KerasCheckpoint
from tests.support.training import run_of
from tests.system.soak.attempt import Say
from tests.system.soak.digest import digest

PAUSE = 0.03  # seconds a batch, so that random moments fall everywhere
EPOCHS = 4
EPOCH_ENDS = Every(epochs=1)
MID_EPOCH = Every(epochs=1) | Every(steps=3)
BATCH, ROWS = 16, 128


class Slow(keras.callbacks.Callback):
    def __init__(self, say: Say) -> None:
        super().__init__()
        self.say = say

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.say.begun()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        time.sleep(PAUSE)

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        time.sleep(PAUSE)


class Batches(keras.utils.PyDataset):
    """Batches that are computed when they are taken."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__(workers=1)
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x) // BATCH

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[part] / 16, self.y[part]


def adam() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(0.01)


def adamw() -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.02, 28), weight_decay=0.01)


def noisy() -> list[keras.layers.Layer]:
    return [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]


def siblings() -> list[keras.callbacks.Callback]:
    """Return callbacks that see no improvement: the rate falls in epochs 3 and 5; 5 ends it, with epoch 1's weights."""
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=2, min_delta=1.5)
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=4, min_delta=1.5, restore_best_weights=True)
    return [plateau, stopping]


def train(
    dirpath: Path,
    say: Say,
    save: Trigger,
    optimizer: Callable[[], keras.optimizers.Optimizer] = adam,
    between: Callable[[], list[keras.layers.Layer]] = list,
    beside: Callable[[], list[keras.callbacks.Callback]] = list,
    batches: bool = False,
    epochs: int = EPOCHS,
) -> None:
    keras.utils.set_random_seed(7)
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32")
    layers = [keras.layers.Dense(8, "relu"), *between(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((64,)), *layers], name="digits")
    model.compile(optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = {"x": Batches(x[:ROWS], y[:ROWS])} if batches else {"x": x[:ROWS] / 16, "y": y[:ROWS], "batch_size": BATCH}
    others, ckpt = beside(), KerasCheckpoint(dirpath, Policy(save, KeepLast(3)))
    model.fit(
        **data, epochs=epochs, validation_data=(x[ROWS : ROWS + 64] / 16, y[ROWS : ROWS + 64]), verbose=0,
        callbacks=[Slow(say), *others, ckpt],
    )  # fmt: skip
    state = run_of(ckpt).state
    say.done(
        weights=digest([np.array(weight) for weight in model.get_weights()]),
        optimizer=digest([keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables]),
        step=state.step,
        epoch=state.epoch,
    )


TRAININGS = {
    "keras-arrays": partial(train, save=EPOCH_ENDS),
    "keras-pydataset": partial(train, save=MID_EPOCH, batches=True),
    "keras-mid-epoch": partial(train, save=MID_EPOCH),
    "keras-dropout-batchnorm": partial(train, save=MID_EPOCH, between=noisy),
    "keras-adamw-schedule": partial(train, save=MID_EPOCH, optimizer=adamw),
    "keras-siblings": partial(train, save=MID_EPOCH, beside=siblings, epochs=8),
}
