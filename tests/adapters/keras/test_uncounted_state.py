"""State that Keras neither counts nor writes: stateful layers, variables in a layer, and its global generator."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.errors import ResumeError
from tests.adapters.keras.task import BACKEND, checkpoint, digits, new_process, same
from tests.support.variants import only_quick

STEPS = Policy(Every(steps=3) | Every(epochs=1), KeepAll())
TENSORFLOW = pytest.mark.skipif(BACKEND != "tensorflow", reason="such state lives on TensorFlow only")


class Noise(keras.layers.Layer):
    def call(self, x):
        return x + 0.1 * keras.random.normal(keras.ops.shape(x))


class Drops(keras.layers.Layer):
    def call(self, x):
        return keras.random.dropout(x, 0.2)


class Scales(keras.layers.Layer):
    def call(self, x):
        return x * keras.random.uniform((), 0.9, 1.1)


class Centred(keras.layers.Layer):
    """A layer with a running mean in TensorFlow's own variable, as in code for Keras 2."""

    def build(self, shape):
        import tensorflow as tf

        self.held = {"mean": [tf.Variable(tf.zeros(shape[-1]), trainable=False)]}

    def call(self, x):
        mean = self.held["mean"][0]
        mean.assign(0.9 * mean + 0.1 * keras.ops.mean(x, 0))
        return x - mean


class Resets(keras.callbacks.Callback):
    """A callback that resets the states at each epoch's beginning."""

    def on_epoch_begin(self, epoch, logs=None):
        for layer in self.model.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()


def rows(layer):
    return [keras.Input(batch_shape=(16, 64)), keras.layers.Reshape((8, 8)), layer, keras.layers.Dense(10)]


MAKERS = {
    "noise": lambda: [keras.Input((64,)), Noise(), keras.layers.Dense(10)],
    "dropout": lambda: [keras.Input((64,)), Drops(), keras.layers.Dense(10)],
    "scale": lambda: [keras.Input((64,)), Scales(), keras.layers.Dense(10)],
    "lstm": lambda: rows(keras.layers.LSTM(4, stateful=True)),
    "gru": lambda: rows(keras.layers.GRU(4, stateful=True)),
    "variable": lambda: [keras.Input((64,)), Centred(), keras.layers.Dense(10)],
}


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="Keras refuses keras.random without a seed")
@pytest.mark.parametrize("resets", only_quick([False, True], True))
@pytest.mark.parametrize("kind", only_quick(MAKERS, "variable"))
def test_state_that_keras_does_not_count_is_restored(tmp_path, kind, resets):
    if kind not in ("noise", "dropout", "scale") and BACKEND != "tensorflow":
        pytest.skip("such state lives on TensorFlow only")
    (x, y), val = digits()

    def train(name, **settings):
        keras.utils.set_random_seed(7)
        made = keras.Sequential(MAKERS[kind](), name="digits")
        made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callback = checkpoint(tmp_path / name, STEPS, **settings)
        others = [Resets()] if resets else []
        made.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[*others, callback], validation_data=val)
        return made, callback

    whole, first = train("whole")
    for record in first.records()[:3]:
        assert same(whole, train(f"from-{record.id}", resume=record.path)[0]), record


@pytest.mark.parametrize("part", ["metrics", "loss"])
@TENSORFLOW
def test_code_that_needs_real_values_resumes(tmp_path, part):
    def share(y_true, y_pred):
        return float(np.mean(np.asarray(y_true.numpy()).ravel() == np.argmax(y_pred.numpy(), -1)))

    def loss(y_true, y_pred):
        assert y_pred.numpy().shape[-1] == 10
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    (x, y), _ = digits()

    def train(name, **settings):
        keras.utils.set_random_seed(7)
        made = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, "softmax")], name="digits")
        made.compile("adam", loss, metrics=[share] if part == "metrics" else [], run_eagerly=True)
        callback = checkpoint(tmp_path / name, STEPS, **settings)
        made.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        return made, callback

    whole, first = train("whole")
    for record in first.records()[:2]:
        assert same(whole, train(f"from-{record.id}", resume=record.path)[0]), record


@TENSORFLOW
def test_variables_that_are_too_large_are_named_once_at_the_first_save(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("ckpt_callbacks.keras.model.unlisted_variables._MOST", 500)
    (x, y), _ = digits()
    made = keras.Sequential(MAKERS["variable"](), name="digits")
    made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    made.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[checkpoint(tmp_path, STEPS)])
    said = [message for message in caplog.messages if "Keras does not count" in message]
    assert len(said) == 1 and "held/mean/0; create them with add_weight()" in said[0]


@TENSORFLOW
def test_the_error_for_a_model_that_cannot_be_built_says_to_call_it(tmp_path):
    class Eager(keras.Model):
        def __init__(self):
            super().__init__(name="eager")
            self.last = keras.layers.Dense(10)

        def call(self, x):
            return self.last(x * float(x.numpy().shape[0] > 0))

    def made():
        new_process()
        eager = Eager()
        eager.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        return eager

    (x, y), _ = digits()
    made().fit(x, y, verbose=0, callbacks=[checkpoint(tmp_path, STEPS)])
    with pytest.raises(ResumeError, match=r"call the model on a batch before model\.fit\(\)"):
        made().fit(x, y, verbose=0, callbacks=[checkpoint(tmp_path, STEPS)])
    called = made()
    called(x[:16])
    called.fit(x, y, epochs=2, verbose=0, callbacks=[checkpoint(tmp_path, STEPS)])
