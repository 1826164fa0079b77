"""Training runs of each kind, for the tests that damage their checkpoints."""

import json
import shutil

from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt

KINDS = ("lightning", "keras", "weights")
RESUMABLE = KINDS[:2]


def callback(kind, dirpath, **settings):
    if kind == "lightning":
        from tests.adapters.lightning import task

        return task.LightningCheckpoint(dirpath, task.EACH_EPOCH, **settings)
    from tests.adapters.keras import task

    return task.checkpoint(dirpath, task.EACH_EPOCH, contents="weights" if kind == "weights" else "full", **settings)


def fit(kind, dirpath, epochs, **settings):
    """Train up to ``epochs``, from the newest checkpoint."""
    ours = callback(kind, dirpath, **settings)
    if kind == "lightning":
        from tests.adapters.lightning import task

        trainer = task.trainer(ours, max_epochs=epochs)
        trainer.fit(task.Model(), *task.loaders(), ckpt_path=ours.resume_path())
    else:
        from tests.adapters.keras import task

        task.fit(task.quick(), ours, epochs=epochs)
    return ours


def copied(source, target):
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target, symlinks=True)


def newest(dirpath):
    return Manifest.read(dirpath).live()[-1]


def good(dirpath):
    """Return the files that pass `ckpt verify`."""
    lines = ckpt("verify", dirpath, "--json").stdout.splitlines()
    return {facts["file"] for facts in map(json.loads, lines) if facts["ok"]}


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)
