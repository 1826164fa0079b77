"""Models with optimizers of their own: in attributes, lists, dicts, layers and sub-models."""

import inspect

import h5py
import keras
import numpy as np
import pytest
from keras.src.saving import saving_lib

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.formats.keras.check import tensors
from ckpt_callbacks.keras.model.objects import optimizers
from tests.adapters.keras.task import BACKEND, checkpoint, digits, new_process, same
from tests.support.variants import only_quick

pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="train steps on JAX know one optimizer")

STEPS = Policy(Every(steps=3) | Every(epochs=1), KeepAll())


class Updater(keras.layers.Layer):
    """A layer that has an optimizer."""

    def __init__(self, optimizer):
        super().__init__()
        self.optimizer = optimizer


class Duel(keras.Model):
    """Two networks with an optimizer each, which are never called as one model."""

    def __init__(self, hold):
        super().__init__(name="duel")
        self.d = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
        self.g = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64)])
        self.noise = keras.random.SeedGenerator(3)
        self.pairs = hold(self)

    if BACKEND == "torch":  # there, Keras trains no model that it cannot call as a whole

        def call(self, x):
            return self.d(x)

    def compile(self):
        super().compile(getattr(self, "main", "rmsprop"), loss="mse")

    def train_step(self, data):
        real, _ = data
        d_optimizer, g_optimizer = self.pairs()
        for part, optimizer, sign in ((self.d, d_optimizer, 1.0), (self.g, g_optimizer, -1.0)):
            loss = update(self, real, part, optimizer, sign)
        return {"loss": loss}


def loss_of(duel, real, sign):
    fake = duel.g(keras.random.normal((16, 4), seed=duel.noise))
    gain = keras.ops.softplus(-duel.d(real)) + keras.ops.softplus(duel.d(fake))
    return sign * keras.ops.mean(gain)


def update(duel, real, part, optimizer, sign):
    if BACKEND == "torch":
        duel.zero_grad()
        loss = loss_of(duel, real, sign)
        (optimizer.scale_loss(loss) if hasattr(optimizer, "inner_optimizer") else loss).backward()
        gradients = [weight.value.grad for weight in part.trainable_weights]
        optimizer.apply(gradients, part.trainable_weights)
        return loss.detach()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = loss_of(duel, real, sign)
        scaled = optimizer.scale_loss(loss) if hasattr(optimizer, "inner_optimizer") else loss
    gradients = tape.gradient(scaled, part.trainable_weights)
    optimizer.apply(gradients, part.trainable_weights)
    return loss


def adam():
    return keras.optimizers.Adam(0.01)


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))


def in_attributes(duel):
    duel.d_optimizer, duel.g_optimizer = adam(), adam()
    return lambda: (duel.d_optimizer, duel.g_optimizer)


def in_a_list(duel):
    duel.both = [adam(), keras.optimizers.RMSprop(0.01)]
    return lambda: duel.both


def in_a_dict_of_lists(duel):
    duel.all = {"d": [adam()], "g": [scaled()]}
    return lambda: (duel.all["d"][0], duel.all["g"][0])


def in_submodels(duel):
    duel.d.compile(adam())
    duel.g.compile(keras.optimizers.Adam(0.02, use_ema=True))
    return lambda: (duel.d.optimizer, duel.g.optimizer)


def compiled_and_another(duel):
    duel.g_optimizer = adam()
    return lambda: (duel.optimizer, duel.g_optimizer)


def compiled_scaled_and_another(duel):
    duel.main, duel.others = scaled(), [adam()]
    return lambda: (duel.others[0], duel.main)


def in_layers(duel):
    duel.updaters = [Updater(scaled()), Updater(adam())]
    return lambda: [one.optimizer for one in duel.updaters]


def made(hold):
    new_process()
    keras.utils.set_random_seed(7)
    duel = Duel(hold)
    duel.compile()
    return duel


# Whether Keras saves what is in containers within containers.
NESTED = "visited_containers" in inspect.signature(saving_lib._save_container_state).parameters
HOLDS = [in_attributes, in_a_list, in_a_dict_of_lists, in_submodels, compiled_and_another, compiled_scaled_and_another]
if BACKEND == "tensorflow":  # torch trains no model with a layer that is never built
    HOLDS.append(in_layers)


@pytest.mark.slow
@pytest.mark.parametrize("staging", only_quick(["memory", "none"], "memory"))
@pytest.mark.parametrize("hold", only_quick(HOLDS, in_a_dict_of_lists), ids=lambda hold: hold.__name__)
def test_each_optimizer_resumes_exactly_wherever_the_model_holds_it(tmp_path, caplog, hold, staging):
    (x, y), _ = digits()

    def train(name, **settings):
        duel, callback = made(hold), checkpoint(tmp_path / name, STEPS, staging=staging, **settings)
        duel.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        return duel, callback

    whole, first = train("whole")
    assert "the optimizer counted" not in caplog.text, "others train"
    if hold is in_a_dict_of_lists and not NESTED:
        assert "does not save these optimizers, so they start anew: all/d/0, all/g/0" in caplog.text
        return
    assert "does not save these optimizers" not in caplog.text
    for record in first.records()[:2]:
        resumed, _ = train(f"from-{record.id}", resume=record.path)
        assert same(whole, resumed), record
        ours, theirs = optimizers(resumed), optimizers(whole)
        assert list(ours) == list(theirs) and sum(len(one.variables) > 3 for one in ours.values()) >= 2
        for path, one in ours.items():
            assert all(np.array_equal(a, b) for a, b in zip(one.variables, theirs[path].variables, strict=True)), path


@pytest.mark.slow
def test_the_rate_of_an_optimizer_that_trains_nothing_is_restored(tmp_path):
    """The optimizer of `compile` is unused in a GAN, but schedules change its rate, and Keras logs it."""
    (x, y), _ = digits()

    def train(name, epochs):
        duel, callback = made(in_attributes), checkpoint(tmp_path / name, Policy(Every(epochs=1), KeepAll()))
        lower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
        duel.fit(x, y, batch_size=16, epochs=epochs, verbose=0, callbacks=[callback, lower])
        return float(keras.ops.convert_to_numpy(duel.optimizer.learning_rate))

    train("cut", 1)
    assert train("cut", 3) == train("whole", 3)


@pytest.mark.slow
@pytest.mark.parametrize("hold", [in_a_list, in_submodels], ids=lambda hold: hold.__name__)
def test_a_file_of_weights_holds_no_optimizer(tmp_path, hold):
    (x, y), _ = digits()
    for staging in ("memory", "none"):
        callback = checkpoint(tmp_path / staging, STEPS, contents="weights", staging=staging)
        made(hold).fit(x, y, batch_size=16, epochs=1, verbose=0, callbacks=[callback])
        with h5py.File(callback.final().path) as file:
            places = [name for name, _ in tensors(file)]
        assert len(places) == 6 and not [place for place in places if "optimizer" in place or "adam" in place], places
