"""Models that are really trained, on scikit-learn's handwritten digits: a small convolutional net in each framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

TRAINED, BATCH = 1500, 50  # digits; the others measure the accuracy
WIDTH = {True: 128, False: 640}  # of the hidden layers, by whether to be quick


def digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return images and numbers, to train with and to evaluate."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images, numbers = (found.images[..., None] / 16).astype("float32"), found.target.astype("int64")
    return (images[:TRAINED], numbers[:TRAINED]), (images[TRAINED:], numbers[TRAINED:])


def train_lightning(folder: Path, quick: bool, **settings: Any) -> Any:
    """Train a Lightning module with a checkpoint after each epoch, and return it.

    Args:
        folder: The run directory.
        quick: Whether to train a small model briefly.
        **settings: Arguments of the trainer, and ``policy``.
    """
    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from ckpt_callbacks import Every, KeepAll, Policy
    from ckpt_callbacks.lightning import LightningCheckpoint

    class Net(lightning.LightningModule):
        """Two convolutions, and two hidden layers."""

        def __init__(self) -> None:
            super().__init__()
            nn, width = torch.nn, WIDTH[quick]
            self.net = nn.Sequential(
                nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64),
                nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, width), nn.ReLU(), nn.Dropout(0.2),
                nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10),
            )  # fmt: skip

        def training_step(self, batch: Any, index: int) -> Any:
            images, numbers = batch
            return nn_functional.cross_entropy(self.net(images), numbers)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), 1e-3)

        def accuracy(self) -> float:
            """Return the share of the other digits that it names."""
            self.eval()
            dtype = self.net[0].weight.dtype
            with torch.no_grad():
                return float((self.net(other[0].to(dtype)).argmax(1) == other[1]).float().mean())

    nn_functional = torch.nn.functional
    lightning.seed_everything(1, verbose=False)
    train, other = ([torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(y)] for x, y in digits())
    policy = settings.pop("policy", None) or Policy(Every(epochs=1), KeepAll())
    callbacks = [LightningCheckpoint(folder, policy), *settings.pop("callbacks", ())]
    module, settings = Net(), {"max_epochs": 1 if quick else 4, **settings}
    lightning.Trainer(
        callbacks=callbacks, logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        **settings,
    ).fit(module, DataLoader(TensorDataset(*train), BATCH, shuffle=True))  # fmt: skip
    return module


def train_keras(folder: Path, quick: bool) -> Any:
    """Train a Keras model with a checkpoint after each epoch, and return a function that evaluates a model.

    Args:
        folder: The run directory.
        quick: Whether to train a small model briefly.
    """
    import keras

    from ckpt_callbacks import Every, KeepAll, Policy
    from ckpt_callbacks.keras import KerasCheckpoint

    keras.utils.set_random_seed(1)
    layers, width = keras.layers, WIDTH[quick]
    model = keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.Flatten(),
        layers.Dense(width, "relu"), layers.Dropout(0.2), layers.Dense(width, "relu"), layers.Dense(10),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=["accuracy"])
    (images, numbers), other = digits()
    saved = KerasCheckpoint(folder, Policy(Every(epochs=1), KeepAll()))
    model.fit(images, numbers, batch_size=BATCH, epochs=1 if quick else 4, verbose=0, callbacks=[saved])

    def accuracy(loaded: Any) -> float:
        return float((loaded.predict(other[0], verbose=0).argmax(1) == other[1]).mean())

    return accuracy
