"""Keras' `BackupAndRestore` in the same list of callbacks."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from tests.adapters.keras.stops import At, fingerprint
from tests.adapters.keras.task import checkpoint, epochs_of, fit, quick

STEPS = Policy(Every(epochs=1) | Every(steps=3), KeepAll())
SLOW = pytest.mark.slow
SAID = "BackupAndRestore has restored epoch"


def interrupt(callback):
    raise KeyboardInterrupt


def callbacks(tmp_path, ours_first, **settings):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", **settings)
    both = [checkpoint(tmp_path / "run", STEPS), backup]
    return both if ours_first else both[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("ours_first", [True, pytest.param(False, marks=SLOW)])
@pytest.mark.parametrize("save_freq", ["epoch", pytest.param(2, marks=SLOW)])
def test_our_checkpoint_is_what_a_run_continues_from(tmp_path, caplog, ours_first, save_freq):
    whole = quick()
    fit(whole, checkpoint(tmp_path / "whole", STEPS))
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), At("on_train_batch_begin", 8, interrupt), *callbacks(tmp_path, ours_first, save_freq=save_freq))
    resumed = quick()
    assert epochs_of(resumed, *callbacks(tmp_path, ours_first, save_freq=save_freq)) == [1, 2]
    assert fingerprint(resumed) == fingerprint(whole)
    assert caplog.text.count(SAID) == 1


@pytest.mark.parametrize("ours_first", [True, pytest.param(False, marks=SLOW)])
def test_without_a_checkpoint_a_run_continues_from_the_backup(tmp_path, caplog, ours_first):
    with pytest.raises(KeyboardInterrupt):
        fit(quick(), At("on_train_batch_begin", 8, interrupt), callbacks(tmp_path, True)[1])
    both = callbacks(tmp_path, ours_first)
    assert epochs_of(quick(), *both) == [1, 2]
    ours = both[0 if ours_first else 1]
    assert [(r.step, r.epoch) for r in ours.records()] == [(6, 1), (8, 2), (9, 2), (12, 3)]
    assert SAID not in caplog.text
