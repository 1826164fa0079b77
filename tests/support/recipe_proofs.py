"""Proofs that the recipes of CONTRIBUTING.md work: scripts that are run against the edited copy of the package."""

# A training without a framework, as an adapter would drive it. `play` saves into ``runs/a``.
_PLAY = """
import json
from pathlib import Path
from ckpt_callbacks import *
from ckpt_callbacks.config import Config
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter

VAL = Metric("val_loss", mode="min")

def play(policy, curve, *, listeners=(), source=None, suffix=".bin", end=True):
    run = Run(policy, Settings(dirpath="runs/a"), suffix=suffix, framework="test", name="Test")
    run.listeners.extend(listeners)
    run.open()
    run.start(source or FakeWriter(), step=0, epoch=0)
    for epoch, value in enumerate(curve, start=1):
        run.observe(Event.epoch_end(step=10 * epoch, epoch=epoch, metrics={"val_loss": value}))
        run.wait()
    if end:
        run.observe(Event.end(step=10 * len(curve), epoch=len(curve)))
    run.end()
    return run
"""

# What each recipe may touch, from the package's folder.
FILES = {
    "Replay": ("replay/*.py", "cli/replay.py"),
}  # fmt: skip

PROOFS = {
    "Replay": _PLAY
    + """
from ckpt_callbacks.replay import replay
policy = Policy(Improves(VAL), KeepLast(2), stop=Patience(VAL, checks=2))
curve = [0.7, 0.4, 0.6, 0.5, 0.1]
events = [Event.epoch_end(step=10 * n, epoch=n, metrics={"val_loss": v}) for n, v in enumerate(curve, start=1)]
found = replay(policy, events)
assert [r.step for r in found.plan.keep] == [10, 20] and found.stopped.epoch == 4
""",
}
