"""The policy and the printed report of the scripts that play the curve through one framework."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from ckpt_callbacks import Every, Improves, KeepBest, KeepEvery, KeepLast, Median, Metric, NonFinite, Patience, Policy
from ckpt_callbacks.run import checkpoint_writer
from ckpt_callbacks.store.manifest import Manifest

VAL = Metric("val_score", mode="min", smoothing=Median(3), min_delta=0.02)
POLICY = Policy(
    save=Every(epochs=5) | Improves(VAL.raw),
    keep=KeepLast(2) | KeepBest(2, by=VAL) | KeepEvery(epochs=10),
    stop=Patience(VAL, checks=8, start_from_epoch=3) | NonFinite("val_score", consecutive=3),
)


def fail_every_second_time() -> None:
    """From now on, make the disk full for every second checkpoint that is moved into place."""
    calls = 0

    def commit(staged: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        really_commit(staged, target)

    really_commit, checkpoint_writer.commit = checkpoint_writer.commit, commit


def report(callback: Any, epochs: int, messages: list[str]) -> None:
    """Print what happened as one line of JSON."""
    manifest = Manifest.read(callback.dirpath)
    records = sorted(manifest.records.values(), key=lambda record: record.id)
    step_of = lambda record: record.step if record else None  # noqa: E731
    print(
        json.dumps(
            {
                "saves": [(r.step, r.epoch, r.status.value != "failed", list(r.reasons)) for r in records],
                "survivors": {r.step: list(callback.plan().reasons[r.id]) for r in manifest.live()},
                "files": sorted(r.path.name for r in manifest.live() if r.path.exists()),
                "aliases": {name: step_of(getattr(callback, name)()) for name in ("last", "best", "final")},
                "epochs": epochs,
                "stop": [m.removeprefix("stopping: ") for m in messages if m.startswith("stopping: ")],
            }
        )
    )
