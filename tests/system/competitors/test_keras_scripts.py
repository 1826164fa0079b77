"""Scripts whose runs resume wrongly with Keras' own callbacks, and not with this package (docs/peer-failures.md)."""

import keras
import numpy as np
import pytest

from tests.adapters.keras.task import BACKEND, EACH_EPOCH, EACH_EPOCH_AND_STEP, checkpoint, fit, quick, same, weights
from tests.system.competitors.competitor import fails
from tests.system.competitors.keras_runs import fit_and_crash


@keras.saving.register_keras_serializable("tests")
class Noise(keras.layers.Layer):
    """A layer that draws from Keras' global generator."""

    def call(self, inputs, training=False):
        return inputs + keras.random.normal(keras.ops.shape(inputs)) if training else inputs


def noisy():
    keras.utils.clear_session()  # older versions keep the global generator otherwise
    keras.utils.set_random_seed(7)
    made = keras.Sequential([keras.Input((64,)), Noise(), keras.layers.Dense(10, "softmax")])
    made.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    return made


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="Keras refuses keras.random without a seed")
def test_k13_numbers_drawn_without_a_seed_go_on_where_they_were(tmp_path):
    """No Keras file holds the global generator, so a resumed run draws different noise."""
    whole = noisy()
    fit(whole, epochs=3)
    fit_and_crash(5, checkpoint(tmp_path / "ours", EACH_EPOCH), trained=noisy())
    resumed = noisy()
    fit(resumed, checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=3)
    assert same(resumed, whole)

    fit_and_crash(5, keras.callbacks.BackupAndRestore(tmp_path / "theirs"), trained=noisy())
    resumed = noisy()
    fit(resumed, keras.callbacks.BackupAndRestore(tmp_path / "theirs"), epochs=3)
    fails("keras", not same(resumed, whole))


class Spoil(keras.callbacks.Callback):
    """Bad data in the second epoch of the first attempt, after which the weights are NaN."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.model.set_weights([np.full_like(value, np.nan) for value in self.model.get_weights()])


@pytest.mark.slow
def test_k14_a_run_that_ended_in_nan_does_not_continue_from_it(tmp_path):
    """BackupAndRestore keeps only the newest state, and restores its NaN at each start."""
    fit(quick(), Spoil(), checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=2)
    resumed = quick()
    fit(resumed, checkpoint(tmp_path / "ours", EACH_EPOCH), epochs=3)
    assert np.isfinite(weights(resumed)).all()

    fit_and_crash(9, Spoil(), keras.callbacks.BackupAndRestore(tmp_path / "theirs"))
    resumed = quick()
    fit(resumed, keras.callbacks.BackupAndRestore(tmp_path / "theirs"), epochs=3)
    fails("keras", np.isnan(weights(resumed)).any())


def lower():
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)


def rate(trained):
    return float(keras.ops.convert_to_numpy(trained.optimizer.learning_rate))


@pytest.mark.slow
def test_k15_a_relative_schedule_is_applied_once_in_an_epoch_resumed_midway(tmp_path):
    """The restored rate is already lower, and Keras lowers it again when the epoch begins a second time."""
    fit_and_crash(6, lower(), checkpoint(tmp_path / "ours", EACH_EPOCH_AND_STEP))
    resumed = quick()
    fit(resumed, lower(), checkpoint(tmp_path / "ours", EACH_EPOCH_AND_STEP), epochs=2)
    assert rate(resumed) == pytest.approx(0.01 * 0.5**2)

    fit_and_crash(6, lower(), keras.callbacks.BackupAndRestore(tmp_path / "theirs", save_freq=3))
    resumed = quick()
    fit(resumed, lower(), keras.callbacks.BackupAndRestore(tmp_path / "theirs", save_freq=3), epochs=2)
    fails("keras", rate(resumed) != pytest.approx(0.01 * 0.5**2))
