"""The microseconds that a callback costs per training step at which nothing is due.

    python -m benchmarks.overhead [--quick]

All callbacks take part in the same real run, and each call is timed at each step, so that the noise of the machine
affects all of them equally. "20 rules" is a policy with twenty rules in save, keep and stop together. "records" is the
number of checkpoints that the directory already holds. `benchmarks.ranks` measures processes that train together.
"""

import json
import statistics
import time
from pathlib import Path

from . import engines, ranks
from .idle import NEVER, RULES, directory
from .report import Spread, Table, Target, ratio

EMPTY, DROP_IN = "an empty callback, the first one", "ModelCheckpoint, the drop-in"


def ours(callback, folder, **settings):
    """Return the callbacks of this package, by rules and records."""
    return {
        (rules, records): callback(directory(folder / f"{records}-{rules}", records), policy, **settings)
        for records in (10, 10_000)
        for rules, policy in RULES.items()
    }


class Timed:
    """A timer around hooks of a callback, which records the nanoseconds of each step: those of all its hooks.

    Args:
        callback: The callback.
        *hooks: Their names, of which the last one ends a step.
    """

    def __init__(self, callback, *hooks):
        self.times, self._spent = [], 0
        for hook in hooks:
            self._time(callback, hook, hook == hooks[-1])

    def _time(self, callback, hook, ends_step):
        inner = getattr(callback, hook)

        def timed(*args, **kwargs):
            start = time.perf_counter_ns()
            inner(*args, **kwargs)
            self._spent += time.perf_counter_ns() - start
            if ends_step:
                self.times.append(self._spent)
                self._spent = 0

        setattr(callback, hook, timed)

    def row(self, framework, name, rules="", records=""):
        us = [t / 1000 for t in self.times[100:]]
        return {
            "framework": framework, "callback": name, "rules": rules, "records": records,
            "median µs": statistics.median(us), "min µs": min(us), "max µs": max(us),
        }  # fmt: skip


def lightning_run(steps, folder):
    import lightning
    import torch
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from torch.utils.data import DataLoader, TensorDataset

    from ckpt_callbacks.lightning import LightningCheckpoint
    from ckpt_callbacks.lightning import ModelCheckpoint as DropIn

    from .tiny_module import TinyModule

    peers = {
        "ModelCheckpoint": ModelCheckpoint(f"{folder}/peer", every_n_train_steps=NEVER),
        "EarlyStopping": EarlyStopping("val_loss", patience=NEVER),
    }
    callbacks = ours(LightningCheckpoint, folder)
    timed = {(name,): Timed(callback, "on_train_batch_end") for name, callback in peers.items()}
    timed |= {("LightningCheckpoint", *k): Timed(callback, "on_train_batch_end") for k, callback in callbacks.items()}
    drop_in = DropIn(f"{folder}/drop-in", every_n_train_steps=NEVER + 1)  # the arguments are the key of the state
    timed[(DROP_IN,)] = Timed(drop_in, "on_before_optimizer_step", "on_train_batch_end")
    data = DataLoader(TensorDataset(torch.ones(steps, 2)))
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=[*peers.values(), *callbacks.values(), drop_in], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(TinyModule(), data, DataLoader(TensorDataset(torch.ones(1, 2))))
    return [timer.row("Lightning", *key) for key, timer in timed.items()]


def keras_run(steps, folder):
    import keras
    import numpy as np

    from ckpt_callbacks.keras import KerasCheckpoint
    from ckpt_callbacks.keras import ModelCheckpoint as DropIn

    class Nothing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            pass

    # The first hook after a step finds the caches cold, including those for the code of the timer.
    nothing, peer = Nothing(), keras.callbacks.ModelCheckpoint(f"{folder}/peer.keras", save_freq=NEVER)
    callbacks = ours(KerasCheckpoint, folder, resume="never")
    timed = {(EMPTY,): Timed(nothing, "on_train_batch_begin")}
    drop_in = DropIn(f"{folder}/drop-in.keras", save_freq=NEVER)
    timed |= {("ModelCheckpoint",): Timed(peer, "on_train_batch_end"), (DROP_IN,): Timed(drop_in, "on_train_batch_end")}
    timed |= {("KerasCheckpoint", *k): Timed(callback, "on_train_batch_begin") for k, callback in callbacks.items()}
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((steps, 2)), np.ones((steps, 1))
    everybody = [nothing, peer, drop_in, *callbacks.values()]
    model.fit(x, y, batch_size=1, verbose=0, callbacks=everybody, validation_data=(x[:1], y[:1]))
    return [timer.row(f"Keras, {keras.backend.backend()}", *key) for key, timer in timed.items()]


def engine(name, quick):
    steps = 400 if quick else 3000
    with engines.scratch() as folder:
        run = keras_run if name in engines.KERAS else lightning_run
        for row in run(steps, Path(folder)):
            print(json.dumps(row), flush=True)


def tables(quick):
    rows = engines.run("overhead", (engines.LIGHTNING, *engines.KERAS), *(["--quick"] if quick else []))
    shown, targets = [], []
    for name in dict.fromkeys(row["engine"] for row in rows):
        some = [row for row in rows if row["engine"] == name]
        peer = next(row["median µs"] for row in some if row["callback"] == "ModelCheckpoint")
        for row in some:
            spread = Spread(row["median µs"], row["min µs"], row["max µs"])
            cells = (row["framework"], row["callback"], row["rules"], row["records"])
            shown.append((*cells, spread, ratio(spread.median, peer)))
        # The slowest row, so that neither the cost of rules nor that of records can hide.
        slowest = max(row["median µs"] for row in some if row["callback"] in ("LightningCheckpoint", "KerasCheckpoint"))
        bound = 1.5 if name == engines.LIGHTNING else 0.5
        framework = some[0]["framework"]
        targets.append(Target(f"{framework}: microseconds per step, the slowest of ours", slowest, bound))
        drop_in = next(row["median µs"] for row in some if row["callback"] == DROP_IN)
        targets.append(Target(f"{framework}: a step of the drop-in ÷ of ModelCheckpoint", drop_in / peer, 1.0))
    columns = ("framework", "callback", "rules", "records", "µs per step", "÷ ModelCheckpoint")
    title = "Overhead: one step with nothing due"
    return [Table(title, columns, shown), Target.table("Overhead: targets", targets), *ranks.tables(quick)]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
