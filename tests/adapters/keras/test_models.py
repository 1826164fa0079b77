"""Models that Keras itself saves only in part, or not at all, although runs can resume from their checkpoints."""

import signal

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.task import BACKEND, ONCE, VAL, checkpoint, digits, fit, model, quick, same, weights
from tests.support.variants import only_quick

STEPS = Policy(Every(steps=3) | Every(epochs=1), KeepAll())


class Built(keras.Model):
    """A model that takes layers, without a config from which Keras could create it."""

    def __init__(self, parts):
        super().__init__(name="built")
        self.parts = parts

    def call(self, x, training=False):
        for part in self.parts:
            x = part(x, training=training)
        return x


def built():
    keras.utils.set_random_seed(7)
    made = Built([keras.layers.Dense(8), keras.layers.Dropout(0.2), keras.layers.Dense(10, "softmax")])
    made.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=BACKEND != "jax")
    made(np.zeros((1, 64), "float32"))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("staging", only_quick(["memory", "none"], "memory"))
def test_a_model_without_a_configuration_resumes_exactly_and_is_named_once(tmp_path, caplog, staging):
    whole, first = built(), checkpoint(tmp_path / "whole", STEPS, staging=staging)
    fit(whole, first)
    said = [message for message in caplog.messages if "configuration" in message]
    assert len(said) == 1 and said[0].startswith(
        "KerasCheckpoint: the configuration of 'built' cannot be saved: Object Built was created by passing "
        "non-serializable argument values"
    ) and said[0].endswith("to use load_model(), implement get_config()")  # fmt: skip
    record = first.records()[2]
    assert record.step == 6 and record.resumable
    resumed = built()
    fit(resumed, checkpoint(tmp_path / "resumed", STEPS, resume=record.path, staging=staging))
    assert same(whole, resumed)
    read = built()
    read.load_weights(first.final().path)
    assert same(whole, read)
    with pytest.raises(TypeError, match="Built, whose configuration could not be saved"):
        keras.saving.load_model(first.final().path)


class GAN(keras.Model):
    """A GAN as in Keras' examples: never called as a whole, with an optimizer for each part."""

    def __init__(self, discriminator, generator):
        super().__init__()
        self.discriminator, self.generator = discriminator, generator
        self.noise = keras.random.SeedGenerator(3)

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def train_step(self, data):
        import tensorflow as tf

        real, _ = data
        for part, optimizer, sign in (
            (self.discriminator, self.d_optimizer, 1.0),
            (self.generator, self.g_optimizer, -1.0),
        ):
            with tf.GradientTape() as tape:
                fake = self.generator(keras.random.normal((tf.shape(real)[0], 4), seed=self.noise))
                gain = keras.ops.softplus(-self.discriminator(real)) + keras.ops.softplus(self.discriminator(fake))
                loss = sign * keras.ops.mean(gain)
            gradients = tape.gradient(loss, part.trainable_weights)
            optimizer.apply_gradients(zip(gradients, part.trainable_weights, strict=True))
        return {"loss": loss}


def gan():
    keras.utils.set_random_seed(7)
    parts = [keras.Sequential([keras.Input((n,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(m)])
             for n, m in ((64, 1), (4, 64))]  # fmt: skip
    made = GAN(*parts)
    made.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02, use_ema=True))
    return made


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("staging", only_quick(["memory", "none"], "memory"))
def test_a_gan_resumes_exactly(tmp_path, staging):
    (x, y), _ = digits()

    def train(name, **settings):
        trained, callback = gan(), checkpoint(tmp_path / name, STEPS, staging=staging, **settings)
        trained.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[callback])
        return trained, callback

    whole, first = train("whole")
    assert not whole.built
    for record in first.records()[1:4]:
        resumed, _ = train(f"from-{record.id}", resume=record.path)
        assert np.array_equal(weights(whole), weights(resumed)), record
        for name in ("d_optimizer", "g_optimizer"):
            ours, theirs = getattr(resumed, name).variables, getattr(whole, name).variables
            assert len(ours) == len(theirs) > 9
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)), (record, name)


class Signal(keras.callbacks.Callback):
    """A callback that signals the process during a validation."""

    def __init__(self, nth):
        super().__init__()
        self.left = nth

    def on_test_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGUSR1)


@pytest.mark.slow
@pytest.mark.parametrize("swap_on_epoch", only_quick([False, True], True))
@pytest.mark.parametrize("ends", only_quick(["at an epoch's end", "in a validation"], "in a validation"))
def test_weights_that_are_swapped_for_averages_are_swapped_back_after_a_resume(tmp_path, caplog, swap_on_epoch, ends):
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll(), best_by=VAL)

    def train(name, *others, epochs=3):
        eager = BACKEND != "jax"
        trained = model(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.8), run_eagerly=eager)
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch)
        fit(trained, swap, checkpoint(tmp_path / name, policy), *others, epochs=epochs)
        return trained

    whole = train("whole")
    if ends == "in a validation":
        with pytest.raises(SystemExit):
            train("cut", Signal(4))
    else:
        with pytest.raises(ZeroDivisionError):
            train("cut", keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: 1 / (2 - epoch)))
    assert ("the best one would not hold what was measured" in caplog.text) is not swap_on_epoch
    # swapping by additions, as Keras does on TensorFlow, rounds
    assert np.allclose(weights(whole), weights(train("cut")), atol=1e-6)


@pytest.mark.slow
def test_lora_factors_are_in_the_kernel_after_a_resume_and_continue_learning(tmp_path, caplog):
    def made():
        with_lora = quick()
        with_lora.layers[0].enable_lora(2)
        with_lora.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=BACKEND != "jax")
        return with_lora

    def train(epochs):
        trained = made()
        fit(trained, checkpoint(tmp_path), epochs=epochs)
        return trained, trained.layers[0]

    first, _ = train(2)
    assert sum("Keras writes LoRA factors into the kernels" in message for message in caplog.messages) == 1
    begun = made().layers[0].lora_kernel_a
    (x, _), _ = digits()
    resumed, again = train(2)  # nothing is left to train
    assert np.allclose(first.predict(x, verbose=0), resumed.predict(x, verbose=0), atol=1e-6)
    assert np.array_equal(again.lora_kernel_a, begun) and not np.any(keras.ops.convert_to_numpy(again.lora_kernel_b))
    _, again = train(3)
    assert np.any(keras.ops.convert_to_numpy(again.lora_kernel_b)), "they learn"
