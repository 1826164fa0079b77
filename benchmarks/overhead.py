"""Microseconds that a callback costs per training step when nothing is due: ours beside the frameworks' own.

    python benchmarks/overhead.py [STEPS]

All callbacks sit in the same real run and are timed around each call, step by step, so that the machine's noise hits
all alike. "20 rules" is a policy whose save, keep and stop hold twenty rules together.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from ckpt_callbacks import (
    EMA,
    Every,
    Improves,
    KeepBest,
    KeepEvery,
    KeepLast,
    KeepTagged,
    Metric,
    NonFinite,
    Patience,
    Policy,
    Reaches,
)

NEVER = 10**9
VAL = Metric("val_loss", mode="min")
ONE = Policy(Every(steps=NEVER), KeepLast(1))


def twenty():
    save = Every(steps=NEVER) | Every(epochs=NEVER) | Every(hours=NEVER)
    for n in range(1, 8):
        save = save | Improves(Metric("val_loss", mode="min", smoothing=EMA(n / 10)))
    keep = KeepLast(3) | KeepEvery(epochs=10) | KeepTagged("release") | KeepBest(1, by=VAL) | KeepBest(2, by=VAL)
    stop = Patience(VAL, 10**6) | Patience(VAL, 10**6, 3) | Reaches(VAL, -1) | NonFinite("loss") | NonFinite("train_loss")
    return Policy(save, keep, stop)


class Timed:
    """Wraps one hook of a callback and collects what each call takes."""

    def __init__(self, callback, hook):
        self.times, inner = [], getattr(callback, hook)

        def timed(*args, **kwargs):
            start = time.perf_counter_ns()
            inner(*args, **kwargs)
            self.times.append(time.perf_counter_ns() - start)

        setattr(callback, hook, timed)

    def row(self, name):
        us = sorted(t / 1000 for t in self.times[100:])
        print(f"{name:<52}{statistics.median(us):8.2f}{us[len(us) // 10]:8.2f}{us[len(us) * 9 // 10]:8.2f}")


def lightning_run(steps, folder):
    import logging
    import warnings

    import lightning
    import torch
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from torch.utils.data import DataLoader, TensorDataset

    from ckpt_callbacks.lightning import LightningCheckpoint

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, index):
            return self.layer(batch[0]).square().mean()

        def validation_step(self, batch, index):
            self.log("val_loss", self.layer(batch[0]).square().mean())
            self.log("train_loss", 1.0)  # NonFinite looks at it

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    callbacks = {
        "Lightning ModelCheckpoint": ModelCheckpoint(f"{folder}/peer", every_n_train_steps=NEVER),
        "Lightning EarlyStopping": EarlyStopping("val_loss", patience=NEVER),
        "LightningCheckpoint, 1 rule": LightningCheckpoint(f"{folder}/one", ONE),
        "LightningCheckpoint, 20 rules": LightningCheckpoint(f"{folder}/twenty", twenty()),
    }
    timed = {name: Timed(callback, "on_train_batch_end") for name, callback in callbacks.items()}
    data = DataLoader(TensorDataset(torch.ones(steps, 2)))
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=list(callbacks.values()), logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Model(), data, DataLoader(TensorDataset(torch.ones(1, 2))))
    for name, timer in timed.items():
        timer.row(name)


def keras_run(steps, folder):
    import keras
    import numpy as np

    from ckpt_callbacks.keras import KerasCheckpoint

    peer = keras.callbacks.ModelCheckpoint(f"{folder}/peer.keras", save_freq=NEVER)
    ours = {name: KerasCheckpoint(f"{folder}/{name}", policy) for name, policy in (("1", ONE), ("20", twenty()))}
    timed = {f"Keras ModelCheckpoint ({keras.backend.backend()})": Timed(peer, "on_train_batch_end")}
    for name, callback in ours.items():
        label = f"KerasCheckpoint ({keras.backend.backend()}), {name} rule{'s' * (name != '1')}"
        timed[label] = Timed(callback, "on_train_batch_begin")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((steps, 2)), np.ones((steps, 1))
    model.fit(x, y, batch_size=1, verbose=0, callbacks=[peer, *ours.values()], validation_data=(x[:1], y[:1]))
    for name, timer in timed.items():
        timer.row(name)


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    if len(sys.argv) > 2:
        with tempfile.TemporaryDirectory() as folder:
            {"lightning": lightning_run, "keras": keras_run}[sys.argv[2]](steps, folder)
        return
    print(f"{steps} steps, nothing due; microseconds per step")
    print(f"{'':<52}{'median':>8}{'p10':>8}{'p90':>8}", flush=True)
    for framework, backend in (("lightning", ""), ("keras", "tensorflow"), ("keras", "torch"), ("keras", "jax")):
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, __file__, str(steps), framework], env=environment, check=True)


if __name__ == "__main__":
    main()
