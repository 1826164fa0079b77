"""Run directories with small checkpoints, and mirrors of them without a thread."""

import os
import random
import time

from ckpt_callbacks import KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.mirrors.mirroring import Mirroring
from ckpt_callbacks.mirrors.source import MirroredRun
from ckpt_callbacks.policy.lineage import origin
from ckpt_callbacks.policy.mirror import Mirror
from ckpt_callbacks.policy.triggers import Every
from ckpt_callbacks.record import Attempt, Record, Status
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.manifest import Manifest

LOSS = Metric("loss", mode="min")
POLICY = Policy(save=Every(steps=1), keep=KeepLast(2) | KeepBest(1, by=LOSS))


class SmallRun:
    """A run directory whose checkpoints are a few random bytes.

    Attributes:
        manifest: Its manifest.
        run: The run that trains.
        attempt: The number of its start.
        facts: The facts that each start records.
    """

    def __init__(self, dirpath, run="run", parent=None, policy=POLICY, facts=None):
        self.manifest, self.run, self.policy = Manifest(dirpath), run, policy
        self.facts = facts or {"framework": "lightning"}
        dirpath.mkdir(parents=True, exist_ok=True)
        self.manifest.refresh()
        self.begin(parent)

    def begin(self, parent=None):
        """Record one more start of training."""
        numbers = [attempt.number for attempt in self.manifest.attempts if attempt.run == self.run]
        self.attempt = max(numbers, default=0) + 1
        facts = {**self.facts, **origin(self.manifest.records.get(parent or 0))}
        self.manifest.start(Attempt(self.run, self.attempt, parent, time.time(), facts))

    def save(self, loss=1.0, size=100, **facts):
        """Save a checkpoint, and return its record."""
        id_ = self.manifest.next_id
        path = self.manifest.layout.dirpath / f"{id_}.ckpt"
        path.write_bytes(random.randbytes(size))
        found, size = digest(path)
        record = Record(
            id_, path.name, step=id_, metrics={"loss": loss}, scores={LOSS.series: loss}, size=size, digest=found,
            status=Status.VERIFIED, run=self.run, attempt=self.attempt, **facts,
        )  # fmt: skip
        return self.manifest.put(record)

    def delete(self, id_):
        """Delete a checkpoint here."""
        self.manifest.change(id_, status=Status.DELETED)
        os.unlink(self.manifest.records[id_].path)

    def records(self):
        """Return the checkpoints that are here."""
        return self.manifest.verified(self.run)

    def mirror(self, store, patience=1e-9, may_delete=lambda: True, **arguments):
        """Return a mirror of the run, for which each failure is one that lasts."""
        source = MirroredRun(self.manifest, self.records, self.policy, "lightning", may_delete)
        return Mirroring(Mirror(store.url.replace("memory://", "file:///"), **arguments), store, source, patience)
