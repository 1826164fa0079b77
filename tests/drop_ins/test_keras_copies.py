"""Copies of the Keras drop-ins, as KerasTuner and joblib make them, before and in the middle of a fit."""

import copy
import pickle

import keras
import pytest

from ckpt_callbacks.keras import BackupAndRestore, EarlyStopping, ModelCheckpoint
from tests.adapters.keras.task import ONCE
from tests.drop_ins.keras_files import files_below, fit, tiny

pytestmark = [ONCE, pytest.mark.slow]


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def callbacks(folder):
    return [
        ModelCheckpoint(folder / "best.keras", save_best_only=True, background=True),
        BackupAndRestore(folder / "backup", save_freq=1),
        EarlyStopping(restore_best_weights=True),
    ]


class CopyAt(keras.callbacks.Callback):
    """A callback that copies others in one of its hooks."""

    def __init__(self, hook, copied, others):
        super().__init__()
        self.copied, self.others, self.copies = copied, others, None
        setattr(self, hook, self.do)

    def do(self, *_, **__):
        if self.copies is None:
            self.copies = self.copied(self.others)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_each_trial_gets_copies_of_the_callbacks_that_were_given(tmp_path, copied):
    given = callbacks(tmp_path)
    for _ in range(3):
        trial = copied(given)
        fit(tiny(), *trial, epochs=2)
        assert trial[0].best is not None and trial[0].best != given[0].best
    assert given[0].best is None and files_below(tmp_path) == ["best.keras"]


@pytest.mark.parametrize("hook", ["on_train_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"])
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_in_the_middle_of_a_fit_is_used_for_another_one(tmp_path, copied, hook):
    given = callbacks(tmp_path)
    made = CopyAt(hook, copied, given)
    fit(tiny(), made, *given, epochs=2)
    fit(tiny(), *made.copies, epochs=3)
    assert made.copies[0].best < given[0].best
    assert files_below(tmp_path) == ["best.keras"]
