"""A training script that uses the Keras drop-ins, for a process that is killed: FOLDER KIND WHERE EPOCHS."""

import os
import signal
import sys

from ckpt_callbacks.keras import BackupAndRestore, ModelCheckpoint
from ckpt_callbacks.store import draft_folder, replacement
from tests.adapters.keras.stops import At, fingerprint
from tests.adapters.keras.task import fit, quick

KILLED = {
    # While the file is written, before and after it is flushed, and before and after it takes its name.
    "writing": (draft_folder.DraftFolder, "commit"),
    "flushing": (draft_folder, "flush"),
    "renaming": (draft_folder, "swap"),
    "renamed": (replacement, "sync_folder"),
}


def kill_at_second_call(owner, name, signal_=signal.SIGKILL):
    original, calls = getattr(owner, name), []

    def counted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal_)
        return original(*arguments)

    setattr(owner, name, counted)


def main(folder, kind, where, epochs):
    """Train, and print a fingerprint of the weights."""
    others = []
    if where in KILLED:
        kill_at_second_call(*KILLED[where])
    elif where != "nowhere":
        others = [At("on_train_batch_end", int(where), lambda _: os.kill(os.getpid(), signal.SIGTERM))]
    if kind == "model":
        others.append(ModelCheckpoint(os.path.join(folder, "m.keras"), background=True))
    else:
        others.append(BackupAndRestore(os.path.join(folder, "backup"), save_freq=False))
    model = quick()
    fit(model, *others, epochs=int(epochs))
    print(fingerprint(model))


if __name__ == "__main__":
    main(*sys.argv[1:])
