"""Real training runs with small states, and checks of their directories after a fault.

One child is forked for each run, from a process that has only imported the framework.
"""

from __future__ import annotations

import logging
import os
import random
import select
import shutil
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from ckpt_callbacks import CkptError, Every, Improves, KeepBest, KeepLast, Metric, Policy, Status, StoreError
from ckpt_callbacks.store.manifest import Manifest
from tests.support.shares import share
from tests.support.training import run_of
from tests.system.faults.checks import check_foreign, check_links, damaged, plant
from tests.system.faults.inject import Call, in_child, listing

VAL = Metric("val_loss", mode="min")
POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2) | KeepBest(1, VAL))
FRAMEWORKS = ("lightning", "keras")
EPOCHS = 3
SEEDED = 30


def load_framework(framework):
    if framework == "lightning":
        import tests.adapters.lightning.task
    else:
        import tests.adapters.keras.task  # noqa: F401


def train(framework, dirpath, acknowledged=None, epochs=EPOCHS, policy=POLICY, contents="full", at_epoch=None, **more):
    """Train up to ``epochs``, from the newest checkpoint, and return this package's callback.

    Args:
        acknowledged: A file that gets a line for each checkpoint that was acknowledged.
        at_epoch: Called at each epoch's beginning with the number of epochs that are done and saved.
    """
    return _TRAIN[framework](dirpath, acknowledged, epochs, policy, contents, at_epoch, more)


def _train_lightning(dirpath, acknowledged, epochs, policy, contents, at_epoch, more):
    import torch

    torch.set_num_threads(1)
    from lightning.pytorch.callbacks import Callback

    from tests.adapters.lightning import task

    class Acknowledge(Callback):  # one hook later, because Lightning puts this package's callback last
        def on_train_epoch_start(self, trainer, pl_module):
            note(acknowledged, callback)
            if at_epoch is not None:
                callback.wait()
                at_epoch(trainer.current_epoch)

        def on_train_end(self, trainer, pl_module):
            note(acknowledged, callback)

    callback = task.LightningCheckpoint(dirpath, policy, contents=contents, **more)
    fitter = task.trainer(Acknowledge(), callback, max_epochs=epochs)
    fitter.fit(task.Model(), *task.loaders(), ckpt_path=callback.resume_path())
    return callback


def _train_keras(dirpath, acknowledged, epochs, policy, contents, at_epoch, more):
    import keras

    from tests.adapters.keras import task

    class Acknowledge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            note(acknowledged, callback)
            if at_epoch is not None:
                callback.wait()
                at_epoch(epoch)

    callback = task.checkpoint(dirpath, policy, contents=contents, **more)
    task.fit(task.quick(), Acknowledge(), callback, epochs=epochs)
    return callback


_TRAIN = {"lightning": _train_lightning, "keras": _train_keras}


def note(acknowledged, callback):
    try:
        records = callback.records()
    except StoreError:  # the fault hit this read of the manifest, so it is read again
        records = callback.records()
    if acknowledged is not None and records:
        # Several may have been saved since the last look, and no later fault takes them back.
        new = sorted({(record.id, record.epoch) for record in records} - set(noted(acknowledged)))
        descriptor = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, "".join(f"{id_} {epoch}\n" for id_, epoch in new).encode())
        os.close(descriptor)


def noted(acknowledged: Path) -> list[tuple[int, int]]:
    """Return the ids and epochs of the checkpoints that were acknowledged."""
    lines = acknowledged.read_text().splitlines() if acknowledged.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


def open_plainly(path):
    """Load with the framework alone."""
    if path.suffix == ".ckpt":
        import torch

        assert torch.load(path, weights_only=True)["state_dict"]
    elif path.name.endswith(".weights.h5"):
        import h5py

        with h5py.File(path) as file:
            file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)
    else:
        import keras

        keras.saving.load_model(path)


# -- points ----------------------------------------------------------------------------------------------------------


def traced(framework: str, dirpath: Path) -> list[Call]:
    """Return the calls of one run, from a child, because the parent must not use the framework."""
    found = dirpath.parent / "calls"

    def work():
        calls = listing(dirpath, lambda: train(framework, dirpath))
        found.write_text("".join(f"{call.number}\t{call.name}\t{call.path}\n" for call in calls))

    assert in_child(work) == 0
    rows = [line.split("\t") for line in found.read_text().splitlines()]
    return [Call(int(number), name, path) for number, name, path in rows]


def points(calls: list[Call]) -> list[Call]:
    """Return the first, the middle and the last call of each kind, and some others."""
    kinds = defaultdict(list)
    for call in calls:
        kinds[call.name].append(call)
    chosen = {found[place].number for found in kinds.values() for place in (0, len(found) // 2, -1)}
    rest = [call for call in calls if call.number not in chosen]
    chosen |= {call.number for call in random.Random(0).sample(rest, min(SEEDED, len(rest)))}
    return share(call for call in calls if call.number in chosen)


def side_by_side(jobs: Iterable[Callable[[], object]], width: int = 2) -> list[str]:
    """Do each job in a separate fork, ``width`` of them at a time, and return what they raised, one line each."""
    said = Path(tempfile.mkdtemp(prefix="faults-"))
    waiting, running, losses = list(enumerate(jobs)), {}, []
    while waiting or running:
        while waiting and len(running) < width:
            number, job = waiting.pop(0)
            child = os.fork()
            if child == 0:
                do(job, said / str(number))
            running[os.pidfd_open(child)] = number, child
        # Not os.wait(), which also returns for a child of an earlier test or of a library.
        for ended in select.select(list(running), [], [])[0]:
            number, child = running.pop(ended)
            os.close(ended)
            _, status = os.waitpid(child, 0)
            if status == 0:
                continue
            text = said / str(number)
            losses.append(text.read_text() if text.exists() else f"job {number} ended with status {status}")
    shutil.rmtree(said)
    return losses


def alone(job: Callable[[], object]) -> None:
    """Do the job in a fork, which must succeed."""
    losses = side_by_side([job])
    assert not losses, losses[0]


def do(job: Callable[[], object], said: Path) -> NoReturn:
    """Do the job in a child, and end it; what the job raises is written to ``said``."""
    status = 70
    try:
        job()
        status = 0
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        lines = str(error).splitlines() or [""]
        said.write_text(f"{type(error).__name__}: {lines[0]} ({where.name}, line {where.lineno})")
    finally:
        os._exit(status)


# -- what must hold --------------------------------------------------------------------------------------------------


class Lines(logging.Handler):
    """A handler that keeps what this package logs."""

    def __init__(self):
        super().__init__()
        self.lines = []
        logging.getLogger("ckpt_callbacks").addHandler(self)

    def emit(self, record):
        self.lines.append(record.getMessage())


def prepared(folder: Path) -> tuple[Path, Path]:
    """Return a run directory with foreign files in it, and the file of acknowledgements beside it."""
    dirpath = folder / "run"
    dirpath.mkdir()
    plant(dirpath)
    return dirpath, folder / "acknowledged"


def check_directory(dirpath: Path, callback=None) -> None:
    """Check that foreign files are untouched, live checkpoints verify, and those that ``callback`` names load."""
    assert not damaged(dirpath), damaged(dirpath)
    check_foreign(dirpath)
    check_links(dirpath)
    for record in callback.records() if callback is not None else ():
        open_plainly(record.path)


def check_resumes(framework, dirpath, acknowledged, epochs=EPOCHS, contents="full"):
    """Train to the end in a child after a kill, from a checkpoint no older than the acknowledged one."""
    said = noted(acknowledged)

    def work():
        callback = train(framework, dirpath, epochs=epochs, contents=contents)
        manifest = run_of(callback).directory.manifest
        if contents == "full" and said and manifest.attempts[-1].number > 1:  # else nothing was left to train
            parent = manifest.records[manifest.attempts[-1].parent]
            assert parent.id >= said[-1][0], f"{said} were saved; resumed from {parent.id}"
            assert not any(record.superseded for record in callback.records())
        found = {record.epoch for record in callback.records()}
        assert found >= {epochs - 1, epochs}, f"only {found} are there"
        check_directory(dirpath, callback)

    alone(work)


def trains_in_spite_of(fault, framework, dirpath, acknowledged, *, starting=False, contents="full"):
    """Check in a child that a training run with a fault reaches its end, and reports what it could not save.

    Args:
        fault: A context with the fault.
        starting: Whether the fault comes before training begins, which may then be refused.
    """
    heard = Lines()
    try:
        with fault:
            callback = train(framework, dirpath, acknowledged, contents=contents)
    except (CkptError, OSError) as error:
        assert starting, f"training was ended: {error!r}"
        return
    note(acknowledged, callback)
    assert run_of(callback).state.epoch == EPOCHS, "training ended too early"
    records = Manifest.read(dirpath).records.values()
    recorded = {record.epoch for record in records if record.status is Status.FAILED and record.error}
    for epoch in set(range(1, EPOCHS + 1)) - {epoch for _, epoch in noted(acknowledged)}:
        told = any("not saved" in line or "could not be recorded" in line for line in heard.lines)
        assert epoch in recorded or told, f"epoch {epoch} was not saved, and nobody said so"
    check_directory(dirpath)
