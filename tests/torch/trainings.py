"""Training runs whose snapshots the tests count."""

import lightning
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import SingleDeviceStrategy

from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer


class Plugin(TorchCheckpointIO):
    """A plugin of the user's."""


class Together(SingleDeviceStrategy):
    """A strategy that saves in its own way."""

    def save_checkpoint(self, *arguments, **settings):
        super().save_checkpoint(*arguments, **settings)


class Held(lightning.Callback):
    """Notes the arenas at the end."""

    def on_train_end(self, fitter, module):
        (callback,) = fitter.checkpoint_callbacks
        callback.wait()
        self.sizes = [arena.size for arena in callback._fit.io.staging._arenas._free]


def lives(tmp_path, arguments=None, **settings):
    """Train, and return the arenas that were held at the end."""
    held = Held()
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH, **(arguments or {}))
    trainer(held, callback, max_epochs=2, **settings).fit(Model(width=20_000), *loaders())
    assert [record.epoch for record in callback.records()] == [1, 2]
    return held.sizes


SAID = "training waits until each checkpoint is written"
