"""Scripts whose runs resume wrongly with Keras' own callbacks, and not with this package (docs/peer-failures.md)."""

import keras
import pytest

from tests.adapters.keras.task import BACKEND, EACH_EPOCH, checkpoint, fit, same
from tests.system.competitors.competitor import fails
from tests.system.competitors.keras_runs import fit_and_crash

pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="Keras refuses keras.random without a seed")


@keras.saving.register_keras_serializable("tests")
class Noise(keras.layers.Layer):
    """A layer that draws from Keras' global generator."""

    def call(self, inputs, training=False):
        return inputs + keras.random.normal(keras.ops.shape(inputs)) if training else inputs


def noisy():
    keras.utils.set_random_seed(7)
    made = keras.Sequential([keras.Input((64,)), Noise(), keras.layers.Dense(10, "softmax")])
    made.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    return made


def test_k13_numbers_drawn_without_a_seed_go_on_where_they_were(tmp_path):
    """No file of Keras holds its global generator, so that a resumed run draws other noise."""
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
