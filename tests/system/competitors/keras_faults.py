"""Training runs that are killed while they write, or whose disk is full: ``FOLDER [SMALL_DISK]``.

Each is a fork of this process, which has imported Keras and run nothing with it: TensorFlow's threads survive no fork.
It prints how each ended, as JSON.
"""

import json
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import keras

from ckpt_callbacks import Every, KeepAll, KeepLast, Policy
from tests.adapters.keras.task import checkpoint, fit, quick
from tests.system.faults.inject import in_child

folder, small = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None


class KilledWhileWriting(keras.callbacks.Callback):
    """A callback that makes the kernel kill the process in the second epoch, after 8192 bytes of a file."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            ours.wait()  # the first one is there
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


class Fill(keras.callbacks.Callback):
    """A callback that fills the disk in the third epoch, as another process would."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            ours.wait()
            room = os.statvfs(small)
            (small / "filled").write_bytes(bytes(room.f_bavail * room.f_frsize - 8192))


def train(*callbacks, epochs=2):
    logging.disable(logging.WARNING)
    fit(quick(), *callbacks, epochs=epochs)


def theirs(path):
    return keras.callbacks.ModelCheckpoint(path, save_weights_only=path.name.endswith(".weights.h5"))


def ended(work):
    code = os.waitstatus_to_exitcode(in_child(work))
    if small is not None:
        (small / "filled").unlink(missing_ok=True)
    return code


found = {}
if small is None:
    ours = checkpoint(folder / "ours", Policy(Every(epochs=1), KeepLast(1)))
    found["ours"] = ended(lambda: train(KilledWhileWriting(), ours))
    (folder / "theirs").mkdir()
    found["theirs"] = ended(lambda: train(KilledWhileWriting(), theirs(folder / "theirs" / "model.keras")))
else:
    ours = checkpoint(small / "ours", Policy(Every(epochs=1), KeepAll()))
    found["ours"] = ended(lambda: train(Fill(), ours, epochs=4))
    for name in ("{epoch}.keras", "{epoch}.weights.h5"):
        there = small / name
        found[name] = ended(lambda path=there: train(Fill(), theirs(path), epochs=4))
        for path in small.glob(name.format(epoch="*")):
            path.unlink()
print(json.dumps(found))
