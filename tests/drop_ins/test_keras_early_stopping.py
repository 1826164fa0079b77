"""`EarlyStopping` for Keras: the original's decisions, except for NaN, and its state in every checkpoint."""

import keras
import numpy as np
import pytest

from ckpt_callbacks.keras import BackupAndRestore, EarlyStopping, KerasCheckpoint
from tests.adapters.keras.task import new_process
from tests.drop_ins.keras_files import fit, tiny

STATE = ("wait", "best", "best_epoch", "stopped_epoch")


class Logs(keras.callbacks.Callback):
    """Logs one recorded value at the end of each epoch, and interrupts the training before an epoch."""

    def __init__(self, curve, until=None):
        super().__init__()
        self._curve, self._until = curve, until

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._until:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        logs["x"] = self._curve[epoch]


def stop(kind, **settings):
    return kind("x", **{"patience": 3, "mode": "min", "restore_best_weights": True, **settings})


def state(callback):
    return {name: getattr(callback, name) for name in STATE} | {
        "weights": [float(np.ravel(w)[0]) for w in callback.best_weights]
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(KerasCheckpoint, marks=pytest.mark.slow), BackupAndRestore])
@pytest.mark.parametrize(("before", "after"), [(EarlyStopping,) * 2, (keras.callbacks.EarlyStopping, EarlyStopping)])
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(tmp_path, kind, before, after):
    curve = [5.0, 3.0, 4.0, 3.5, 3.6, 2.0, 1.0]
    whole = stop(keras.callbacks.EarlyStopping)
    trained = tiny(trained=False)
    fit(trained, Logs(curve), whole, epochs=7)

    def resuming():
        new_process()
        if kind is BackupAndRestore:
            return BackupAndRestore(tmp_path / "run")
        return KerasCheckpoint(tmp_path / "run", monitor="x", mode="min")

    with pytest.raises(KeyboardInterrupt):
        fit(tiny(trained=False), Logs(curve, until=3), stop(before), resuming(), epochs=7)
    again, resumed = stop(after), tiny(trained=False)
    fit(resumed, Logs(curve), again, resuming(), epochs=7)
    assert state(again) == state(whole) and state(whole)["stopped_epoch"] == 4
    assert resumed.get_weights() == trained.get_weights()


@pytest.mark.parametrize("curve", [[float("nan"), 3.0, 4.0, 5.0, 6.0], [3.0, float("nan"), 4.0, 5.0, 6.0]])
def test_nan_is_never_the_best(curve):
    ours = stop(EarlyStopping)
    fit(tiny(), Logs(curve), ours, epochs=5)
    assert ours.best == 3.0 and ours.best_epoch == curve.index(3.0)


def test_a_direction_that_keras_guesses_is_said_once(caplog):
    caplog.set_level("INFO", logger="ckpt_callbacks")
    for _ in range(2):
        fit(tiny(), EarlyStopping("accuracy", patience=9))
    assert caplog.text.count("mode='auto' takes the highest accuracy for the best") == 1
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        fit(tiny(), Logs([1.0]), EarlyStopping("x"), epochs=1)
