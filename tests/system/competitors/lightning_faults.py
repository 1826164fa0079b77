"""Runs that are killed during a save, or signalled: ``kills FOLDER OTHER_DISK``, ``signals FOLDER``, ``queued FOLDER``.

Each is a fork of this process. pytest's own cannot be forked, because TensorFlow may have run in it.
It prints how each ended, as JSON.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import threading
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, Model, fit
from tests.system.competitors.background import Writes
from tests.system.competitors.lightning_runs import fit_theirs
from tests.system.faults.inject import in_child, interposed, kill_before, listing

LAST = Policy(Every(epochs=1), KeepLast(1))
folder = Path(sys.argv[2])


class Terminate(Callback):
    """A callback that signals the process in a batch or a validation, and records in a file what still happens."""

    def __init__(self, place, notes):
        self.place, self.notes = place, notes

    def on_train_batch_start(self, trainer, *_):
        if self.place == "training" and trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_batch_start(self, trainer, *_):
        if self.place == "validation" and trainer.global_step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_end(self, trainer, *_):
        with self.notes.open("a") as file:
            file.write(f"validated {trainer.global_step}\n")


def ended(work):
    """Do ``work`` in a separate process, and return its exit code, or minus the signal."""

    def until_exit():
        try:
            work()
        except SystemExit as end:
            os._exit(end.code or 0)

    return os.waitstatus_to_exitcode(in_child(until_exit))


def second_save(calls):
    """Return the calls that a kill can tell apart, from the beginning of the second save to that of the third."""
    begin, end = (next(c.number for c in calls if f"-{save}.ckpt" in c.path) for save in (2, 3))
    return [call for call in calls if begin <= call.number < end and call.changing]


def train(dirpath, before):
    with interposed(dirpath, before):
        fit(dirpath, LAST, max_epochs=2)


def train_until_a_write_is_torn(dirpath, number):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def limit(call):
        if call.number == number:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # the kernel kills at the first byte after this

    train(dirpath, limit)


def train_theirs_until_it_copies(dirpath):
    fit_theirs(ModelCheckpoint(dirpath, filename="last", enable_version_counter=False), max_epochs=1)
    os.sendfile = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the call that `shutil` copies with
    again = ModelCheckpoint(dirpath, filename="last", enable_version_counter=False)
    fit_theirs(again, max_epochs=2, ckpt_path=dirpath / "last.ckpt")


def kills():
    os.environ["TMPDIR"] = sys.argv[3]
    tempfile.tempdir = None
    for name in ("traced", "torn"):
        (folder / name).mkdir()
    calls = second_save(listing(folder / "traced", lambda: fit(folder / "traced", LAST, max_epochs=2)))
    codes = {"torn": ended(lambda: train_until_a_write_is_torn(folder / "torn", calls[0].number))}
    for call in calls[::3]:
        dirpath = folder / f"at-{call.number}"
        dirpath.mkdir()
        codes[dirpath.name] = ended(lambda d=dirpath, n=call.number: train(d, kill_before(n)))
    left = [path.name for path in Path(sys.argv[3]).iterdir()]
    return {
        "calls": [(call.name, os.path.basename(call.path)) for call in calls],
        "codes": codes,
        "left in $TMPDIR": left,
        "theirs": ended(lambda: train_theirs_until_it_copies(folder / "theirs")),
    }


def signals():
    policy, codes = Policy(Every(epochs=1) | OnPreempt(), KeepAll()), {}
    settings = {"max_epochs": 3, "num_sanity_val_steps": 0}
    for place in ("training", "validation"):
        for whose in ("ours", "theirs"):
            dirpath = folder / place / whose
            dirpath.mkdir(parents=True)
            told = Terminate(place, dirpath / "notes")
            theirs = ModelCheckpoint(dirpath, save_last=True)
            codes[f"{place} {whose}"] = ended(
                (lambda d=dirpath, t=told: fit(d, policy, extra=[t], **settings))
                if whose == "ours"
                else (lambda t=told, c=theirs: fit_theirs(t, c, **settings))
            )
    return codes


class Falling(Model):
    """A module whose ``val_loss`` falls with each epoch, so that each is the best one."""

    def validation_step(self, batch, index):
        self.log("val_loss", torch.tensor(-float(self.trainer.current_epoch)))


class KillInThirdEpoch(Callback):
    """A callback that delays the second write until the third epoch begins, and then kills the process.

    The second epoch begins when the first write has ended: a competitor cannot delete a file that is not there yet.
    """

    def __init__(self):
        self.begun, self.writes = threading.Event(), Writes(self.before_write)

    def on_train_epoch_start(self, trainer, *_):
        if trainer.current_epoch == 1:
            self.writes.wait()
        if trainer.current_epoch == 2:
            self.begun.set()

    def before_write(self, step):
        if step == 20:
            self.begun.wait(30)
            os.kill(os.getpid(), signal.SIGKILL)


def queued():
    policy = Policy(Improves(VAL), KeepBest(1, by=VAL))

    def train_ours():
        kill = KillInThirdEpoch()
        ours = kill.writes.of_ours(LightningCheckpoint(folder / "ours", policy))
        fit_theirs(kill, ours, module=Falling(), max_epochs=4)

    def train_theirs():
        kill = KillInThirdEpoch()
        theirs = ModelCheckpoint(folder / "theirs", monitor="val_loss")
        fit_theirs(kill, theirs, module=Falling(), max_epochs=4, plugins=[kill.writes.plugin()])

    return {"ours": ended(train_ours), "theirs": ended(train_theirs)}


print(json.dumps({"kills": kills, "signals": signals, "queued": queued}[sys.argv[1]]()))
