"""Ways to interrupt training, and the facts in which a resumed run must agree with an uninterrupted one."""

import hashlib
import os
import signal

import keras
import numpy as np

from ckpt_callbacks import Every, KeepAll, OnException, OnPreempt, Policy
from tests.adapters.keras.task import checkpoint, fit, quick

POLICY = Policy(Every(epochs=1) | OnPreempt() | OnException(), KeepAll())
TEN = {"batch_size": 6, "epochs": 2}  # 64 samples: ten whole batches and a short one


class At(keras.callbacks.Callback):
    """A callback that calls a function at the n-th call of a hook."""

    def __init__(self, hook, nth, act):
        super().__init__()
        self.hook, self.left, self.act = hook, nth, act
        setattr(self, hook, self._count)

    def _count(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            self.act(self)


class Counter(keras.callbacks.Callback):
    """A user's callback, whose state names the hooks that were called."""

    def __init__(self):
        super().__init__()
        self.told = {"begun": 0, "ended": 0, "array": np.zeros(2)}

    def on_train_batch_begin(self, batch, logs=None):
        self.told["begun"] += 1

    def on_train_batch_end(self, batch, logs=None):
        self.told["ended"] += 1

    def on_epoch_end(self, epoch, logs=None):
        self.told["array"] = self.told["array"] + epoch

    def state_dict(self):
        return dict(self.told)

    def load_state_dict(self, state):
        self.told = dict(state)

    @property
    def facts(self):
        return self.told["begun"], self.told["ended"], self.told["array"].tolist()


def terminate(callback):
    os.kill(os.getpid(), signal.SIGTERM)


def stop(callback):
    callback.model.stop_training = True


def fingerprint(trained):
    variables = [*trained.weights, *trained.optimizer.variables]
    return hashlib.sha256(b"".join(keras.ops.convert_to_numpy(v).tobytes() for v in variables)).hexdigest()


def train(dirpath, *callbacks, epochs=4, optimizer=None, policy=POLICY, resume="auto", **settings):
    """Return everything in which an uninterrupted run and a resumed one must agree."""
    trained, counter = quick(), Counter()
    if optimizer is not None:
        trained.compile(optimizer, trained.loss, metrics=["accuracy"], run_eagerly=True)
    stopper = keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=0.5, cooldown=1)
    siblings = [stopper, counter] if optimizer is not None else [stopper, plateau, counter]
    ours = checkpoint(dirpath, policy, resume=resume)
    history = fit(trained, *callbacks, ours, *siblings, epochs=epochs, **settings)
    best = (stopper.best, stopper.best_epoch, stopper.wait, plateau.best, plateau.wait, plateau.cooldown_counter)
    return fingerprint(trained), history.epoch, history.history, best, counter.facts
