"""A training run that prints far too much: ``DIRPATH FRAMEWORK``. It gives its process 2 s after a signal."""

import sys

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy

POLICY = Policy(Every(epochs=100) | OnPreempt(), KeepAll())


def say(step):
    print("step", step, "x" * 20000, flush=True)


def train_with_lightning(dirpath):
    from lightning.pytorch.callbacks import Callback

    from tests.adapters.lightning.task import fit

    class Talks(Callback):
        def on_train_batch_end(self, trainer, *_):
            say(trainer.global_step)

    fit(dirpath, POLICY, extra=[Talks()], arguments={"grace": 2.0}, max_epochs=1000)


def train_with_keras(dirpath):
    import keras

    from tests.adapters.keras.task import checkpoint, fit, quick, updates

    class Talks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            say(updates(self.model))

    fit(quick(), Talks(), checkpoint(dirpath, POLICY, grace=2.0), epochs=1000)


if __name__ == "__main__":
    {"lightning": train_with_lightning, "keras": train_with_keras}[sys.argv[2]](sys.argv[1])
