"""`BackupAndRestore` beside the original, interrupted at many places; on torch, where `fit` takes least time."""

import contextlib

import keras
import numpy as np
import pytest

from ckpt_callbacks.keras import BackupAndRestore
from tests.adapters.keras.task import BACKEND, new_process
from tests.drop_ins.keras_files import tiny
from tests.drop_ins.keras_grid import CHUNKS, backup_cases, parts

pytestmark = pytest.mark.skipif(BACKEND != "torch", reason="the same on every backend")


class Ended(Exception):
    """The end of a training process."""


class Follow(keras.callbacks.Callback):
    """Notes each epoch and the attributes of a `BackupAndRestore`, and ends the training after a number of batches."""

    def __init__(self, backup, batches):
        super().__init__()
        self._backup, self._left, self.seen, self.trained = backup, batches or -1, [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.trained.append(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self._left == 0:
            raise Ended
        self._left -= 1

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((self._backup._current_epoch, self._backup._last_batch_seen))

    on_epoch_end = on_train_batch_end


@pytest.mark.parametrize("part", parts(252))
def test_backup_and_restore_counts_the_same_and_never_loses_more(tmp_path, part):
    model = tiny(trained=False)
    first = model.get_weights()
    for number, case in enumerate(backup_cases(252 * CHUNKS)[slice(*part)]):
        arguments = {name: case[name] for name in ("save_freq", "double_checkpoint", "delete_checkpoint")}
        found = []
        for kind in (keras.callbacks.BackupAndRestore, BackupAndRestore):
            folder, epochs = tmp_path / f"{number}-{len(found)}", []
            for interrupted in (case["interrupted"], 0):
                new_process()
                model.set_weights(first)
                model.optimizer.iterations.assign(0)
                model._initial_epoch = None  # the original leaves it
                backup = kind(folder, **arguments)
                follow = Follow(backup, interrupted)
                data = np.ones((case["batches"], 1))
                with contextlib.suppress(Ended):
                    model.fit(
                        data, np.zeros((case["batches"], 1)), batch_size=1, epochs=case["epochs"], verbose=0,
                        callbacks=[backup, follow], shuffle=False,
                    )  # fmt: skip
                epochs.append((follow.trained, follow.seen if not epochs else None, folder.exists()))
            found.append((epochs, int(model.optimizer.iterations), folder.exists()))
        (theirs, _, their_end), (ours, updates, our_end) = found
        # With delete_checkpoint=False, the drop-in also keeps the state at the end of training.
        assert ours[0][:2] == theirs[0][:2] and (our_end == their_end or our_end > case["delete_checkpoint"]), case
        assert updates == case["batches"] * case["epochs"], case  # each batch once
        assert len(ours[1][0]) <= len(theirs[1][0]), case
