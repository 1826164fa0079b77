"""The policies and run directories with which the benchmarks measure steps at which nothing is due."""

from dataclasses import replace

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
from ckpt_callbacks.record import Attempt, Record, Status
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.manifest import Manifest

NEVER = 10**9
VAL = Metric("val_loss", mode="min")
ONE = Policy(Every(steps=NEVER), KeepLast(1))


def twenty():
    """Return a policy with twenty rules."""
    save = Every(steps=NEVER) | Every(epochs=NEVER) | Every(hours=NEVER)
    for n in range(1, 8):
        save = save | Improves(Metric("val_loss", mode="min", smoothing=EMA(n / 10)))
    keep = KeepLast(3) | KeepEvery(epochs=10) | KeepTagged("release") | KeepBest(1, by=VAL) | KeepBest(2, by=VAL)
    stop = Patience(VAL, 10**6) | Patience(VAL, 10**6, 3) | Reaches(VAL, -1)
    return Policy(save, keep, stop | NonFinite("loss") | NonFinite("train_loss"))


RULES = {"1 rule": ONE, "20 rules": twenty()}


def directory(path, records):
    """Create a run directory with small checkpoints, all but the last from an earlier run, and return its path."""
    path.mkdir()
    manifest = Manifest(path)
    manifest.layout.private.mkdir()
    old = []
    for number in range(1, records + 1):
        file = path / f"old-{number:06d}.ckpt"
        file.write_bytes(b"old")
        sum_, size = digest(file) if number == 1 else (old[0].digest, old[0].size)
        run = "old" if number < records else "fresh"
        facts = {"size": size, "digest": sum_, "run": run, "attempt": 1, "superseded": run == "old"}
        old.append(
            Record(id=number, file=file.name, step=number, status=Status.VERIFIED, reasons=("by hand",), **facts)
        )
    for run in ("old", "fresh"):
        manifest.start(Attempt(run, 1, None, 0.0, {}))
    first = manifest.put(old[0])
    manifest.records |= {record.id: replace(record, directory=first.directory) for record in old}
    manifest.rewrite()
    return path
