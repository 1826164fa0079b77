"""Runs that save in the background, with snapshots that the tests hold back."""

import json
import threading

from ckpt_callbacks import (
    EventKind,
    Every,
    KeepAll,
    Metric,
    Policy,
)
from ckpt_callbacks.formats import Written
from tests.support.training import report

VAL = Metric("val", mode="min")
EACH = Policy(Every(epochs=1), KeepAll(), best_by=VAL)


class Held:
    """Snapshots that are not written before the test releases them."""

    live = False

    def __init__(self, run, *, held=True, fails=0):
        self.run, self.fails, self.go = run, fails, threading.Event()
        self.staged = self.content = None
        if not held:
            self.go.set()

    def snapshot(self, embedded):
        self.content = json.dumps(embedded.run)
        return self

    def write(self, path):
        assert self.go.wait(30)
        if self.fails:
            self.fails -= 1
            raise OSError(28, "No space left on device")
        path.write_text(self.content)
        return Written()

    def release(self):
        """There is no memory to give back."""


def epoch(run, number, value=1.0, *, held=False, fails=0, kind=EventKind.EPOCH_END):
    """The end of an epoch of 10 steps; returns the snapshot."""
    snapshot = Held(run, held=held, fails=fails)
    report(run, kind, step=number * 10, epoch=number, metrics={"val": value}, complete=True, stage=snapshot)
    return snapshot


def nothing(run, step):
    """An event at which nothing is due."""
    report(run, EventKind.STEP_END, step=step, epoch=0)


def wish(run, clock):
    """Ask for a save, as ``ckpt save`` does; a training run checks for requests twice a second."""
    (run.dirpath / "SAVE_NOW").touch()
    clock.advance(1)
