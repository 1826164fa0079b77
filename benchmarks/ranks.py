"""The microseconds that a callback costs per training step with nothing due, if several processes train together.

    python -m benchmarks.ranks [--quick]

`benchmarks.overhead` shows the same tables. The ranks train with DDP and gloo on the CPU, and the first rank measures.
All callbacks take part in the same real run. A callback that communicates also waits for the other ranks. The mean
includes the few steps at which the ranks agree; the median hides them.
"""

import json
import os
import statistics
import time
from datetime import timedelta
from pathlib import Path

from ckpt_callbacks import Every, KeepLast, OnPreempt, Policy

from . import engines
from .idle import NEVER, RULES, directory
from .report import Table, Target, ratio

OURS = "LightningCheckpoint"
PLAIN, BY_TIME = "ModelCheckpoint", "ModelCheckpoint, train_time_interval"


class Steps:
    """The nanoseconds that a callback takes in each step, as the sum of all its timed functions."""

    def __init__(self):
        self.ns = [0]

    def time(self, holder, name):
        """Replace a method of an object by a timed one."""
        inner = getattr(holder, name)

        def timed(*args, **kwargs):
            start = time.perf_counter_ns()
            inner(*args, **kwargs)
            self.ns[-1] += time.perf_counter_ns() - start

        setattr(holder, name, timed)

    def row(self, name, rules):
        us = [t / 1000 for t in self.ns[100:]]
        return {"callback": name, "rules": rules, "median µs": statistics.median(us), "mean µs": statistics.mean(us)}


def train(ranks, steps, folder):
    """Train, and return the rows of the first rank; other ranks return none."""
    import lightning
    import torch
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint
    from torch.utils.data import DataLoader, TensorDataset

    from ckpt_callbacks.lightning import LightningCheckpoint

    from .tiny_module import TinyModule

    rules = {**RULES, "time and signals": Policy(Every(hours=100) | OnPreempt(), KeepLast(1))}
    timed = {
        (PLAIN, ""): ModelCheckpoint(f"{folder}/plain", every_n_train_steps=NEVER),
        (BY_TIME, ""): ModelCheckpoint(f"{folder}/by time", train_time_interval=timedelta(days=1)),
    }
    for name, policy in rules.items():
        timed[OURS, name] = LightningCheckpoint(folder / name, policy)
    steps_of = {key: Steps() for key in timed}

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            for key, callback in timed.items():
                steps_of[key].ns.append(0)
                if index == 0:
                    steps_of[key].time(callback, "on_train_batch_end")
                    if key[0] == OURS:  # its hook defers what it reports until the module's hook has run
                        steps_of[key].time(callback._fit, "end_batch")

    trainer = lightning.Trainer(
        strategy="ddp", devices=ranks, accelerator="cpu", max_epochs=1, callbacks=[Watch(), *timed.values()],
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    if trainer.is_global_zero:
        for name in rules:
            directory(folder / name, 10)
    trainer.fit(TinyModule(), DataLoader(TensorDataset(torch.ones(steps * ranks, 2))))
    return [one.row(*key) for key, one in steps_of.items()] if trainer.is_global_zero else []


def engine(name, quick):
    """Measure with ``name`` ranks. Lightning starts the other ranks with the same command."""
    with engines.scratch() as folder:
        shared = os.environ.setdefault("RANKS_FOLDER", folder)
        for row in train(int(name), 400 if quick else 3000, Path(shared)):
            print(json.dumps(row), flush=True)


def tables(quick):
    """Measure, and return the tables."""
    rows = engines.run("ranks", ("2",) if quick else ("2", "4"), *(["--quick"] if quick else []))
    shown, targets = [], []
    for ranks in dict.fromkeys(row["engine"] for row in rows):
        some = [row for row in rows if row["engine"] == ranks]
        peer = next(row["mean µs"] for row in some if row["callback"] == PLAIN)
        for row in some:
            cells = (ranks, row["callback"], row["rules"], row["median µs"], row["mean µs"])
            shown.append((*cells, ratio(row["mean µs"], peer)))
        for figure, bound in (("median", 5), ("mean", 50)):
            slowest = max(row[f"{figure} µs"] for row in some if row["callback"] == OURS)
            targets.append(
                Target(f"{ranks} ranks: {figure} microseconds per step, the slowest of ours", slowest, bound)
            )
    columns = ("ranks", "callback", "rules", "median µs", "mean µs", "mean ÷ ModelCheckpoint")
    title = "Overhead: one step with nothing due, on several ranks"
    return [Table(title, columns, shown), Target.table("Overhead: targets on several ranks", targets)]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
