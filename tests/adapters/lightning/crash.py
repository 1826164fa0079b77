"""A callback that ends training with an exception."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback

HERE = Path(__file__).parent


class Crash(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise ZeroDivisionError
