"""Callbacks whose hooks change what a checkpoint holds, and are called again when a run is resumed in mid-epoch."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.stops import At, fingerprint, terminate
from tests.adapters.keras.task import BACKEND, checkpoint, fit, quick

THIRDS = Policy(Every(epochs=1) | Every(steps=3) | OnPreempt(), KeepAll())


def rate(model, factor):
    model.optimizer.learning_rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) * factor


class Noise(keras.callbacks.Callback):
    """A callback that draws random numbers when an epoch begins, and uses them in its batches."""

    def on_epoch_begin(self, epoch, logs=None):
        self.factor = np.random.uniform(0.9, 1)
        for variable in self.model.trainable_variables:
            variable.assign(variable * self.factor)

    def on_train_batch_begin(self, batch, logs=None):
        rate(self.model, self.factor)


class Momentum(keras.callbacks.Callback):
    """A callback that changes weights and the optimizer's slots after each batch, and when a validation begins."""

    def on_train_batch_end(self, batch, logs=None):
        for variable in (*self.model.trainable_variables, *self.model.optimizer.variables[2:]):
            variable.assign(variable * 0.99)

    def on_test_begin(self, logs=None):
        self.on_train_batch_end(0)


class Again(keras.callbacks.Callback):
    """A callback that compiles the model again in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            optimizer = keras.optimizers.Adam(0.005)
            self.model.compile(optimizer, self.model.loss, metrics=["accuracy"], run_eagerly=True)
            self.model.make_train_function()


class Warmup(keras.callbacks.Callback):
    """A callback that begins with a low rate and other weights."""

    def on_train_begin(self, logs=None):
        rate(self.model, 0.1)
        for variable in self.model.trainable_variables:
            variable.assign(variable * 0.5)

    def on_epoch_begin(self, epoch, logs=None):
        rate(self.model, 2)


def relative():
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8)


def train(dirpath, make, *callbacks, ours_first=False, **settings):
    """Return everything in which an uninterrupted run and a resumed one must agree."""
    own = {name: settings.pop(name) for name in ("resume", "batch_metrics") if name in settings}
    trained, ours = quick(), checkpoint(dirpath, THIRDS, **own)
    siblings = [ours, make()] if ours_first else [make(), ours]
    history = fit(trained, *callbacks, *siblings, **settings)
    return fingerprint(trained), history.epoch, history.history


SLOW = pytest.mark.slow
MORE = [Noise, Momentum, Warmup] + (
    [Again] if BACKEND == "tensorflow" else []
)  # elsewhere, only data builds new metrics
KINDS = [relative, *(pytest.param(kind, marks=SLOW) for kind in MORE)]


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"ours_first": True}, marks=SLOW),
        pytest.param({"ours_first": True, "batch_metrics": True}, marks=SLOW),
    ],
    ids=",".join,
)
def test_what_they_change_is_changed_once(tmp_path, make, settings):
    whole = train(tmp_path / "whole", make, **settings)
    places = {(r.step, r.epoch): r.path for r in Manifest.read(tmp_path / "whole").live()}
    for place in ((6, 1), (9, 2), (4, 1)) if settings else ((6, 1),):
        assert train(tmp_path / str(place), make, **settings, resume=places[place]) == whole, place


@pytest.mark.slow
@pytest.mark.parametrize("make", [relative, *KINDS[2:]], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("between", [False, pytest.param(True, marks=SLOW)])
def test_what_they_change_by_a_signal_in_a_validation_is_changed_once(tmp_path, make, between):
    settings = {"batch_metrics": between, "ours_first": True}
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", make, At("on_test_batch_begin", 3, terminate), **settings)
    assert train(tmp_path / "cut", make, **settings) == train(tmp_path / "whole", make, **settings)


@pytest.mark.slow
def test_the_rate_is_lowered_once_if_an_epoch_is_trained_again(tmp_path):
    train(tmp_path / "whole", relative, epochs=2)
    [record] = [r for r in Manifest.read(tmp_path / "whole").live() if r.step == 6]
    trained = quick()
    fit(trained, relative(), checkpoint(tmp_path / "again", resume=record.path), epochs=2, batch_size=8)
    assert float(keras.ops.convert_to_numpy(trained.optimizer.learning_rate)) == pytest.approx(0.01 * 0.8**2)


@pytest.mark.slow
def test_callbacks_of_keras_do_not_make_the_checkpoint_load_twice(tmp_path, monkeypatch):
    from ckpt_callbacks.keras import loading

    loads = []
    load = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *given, **named: loads.append(1) or load(*given, **named))
    train(tmp_path / "whole", keras.callbacks.TerminateOnNaN, epochs=1)
    [record] = [r for r in Manifest.read(tmp_path / "whole").live() if r.step == 3]
    for make, times in ((keras.callbacks.TerminateOnNaN, 1), (relative, 3)):
        train(tmp_path / make.__name__, make, epochs=1, resume=record.path)
        assert len(loads) == times
