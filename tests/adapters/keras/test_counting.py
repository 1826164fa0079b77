"""Runs whose optimizer does not count batches, and epochs whose length is not known in advance."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.stops import At, fingerprint, terminate
from tests.adapters.keras.task import BACKEND, checkpoint, digits, model
from tests.support.variants import only_quick

EVERY_THIRD = Policy(Every(epochs=1) | Every(steps=3) | OnPreempt(), KeepAll())
EAGERLY = {"run_eagerly": BACKEND != "jax"}
TENSORFLOW = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data, or a train_step for TensorFlow")


class Batches(keras.utils.PyDataset):
    """A data set whose epochs have the given numbers of batches."""

    def __init__(self, *lengths):
        super().__init__()
        self.lengths, self.epoch, self.told = lengths, 0, False

    def __len__(self):
        return self.lengths[min(self.epoch, len(self.lengths) - 1)]

    def __getitem__(self, index):
        (x, y), _ = digits()
        return x[index * 8 : index * 8 + 8], y[index * 8 : index * 8 + 8]

    def on_epoch_end(self):
        self.epoch += self.told  # Keras calls this once before the first epoch
        self.told = True


def eight(length=8):
    return Batches(length)


def unknown(length=8):
    """Return a `tf.data` pipeline of unknown length."""
    import tensorflow as tf

    (x, y), _ = digits()
    data = tf.data.Dataset.from_tensor_slices((x[: 8 * length], y[: 8 * length])).batch(8)
    return data.filter(lambda x, y: tf.reduce_sum(x) > -1)


def stream(length=8):
    """Return a torch loader of unknown length."""
    import torch

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            (x, y), _ = digits()
            return iter(zip(x[: 8 * length], y[: 8 * length], strict=True))

    return torch.utils.data.DataLoader(Stream(), batch_size=8)


def scaled():
    """Return a model whose first updates are skipped, because their gradients are not finite."""
    inner = keras.optimizers.Adam(0.01)
    return model(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127, dynamic_growth_steps=4), **EAGERLY)


def scaled_and_accumulated():
    inner = keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)
    return model(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127, dynamic_growth_steps=4), **EAGERLY)


class TwoUpdates(keras.Sequential):
    """A model that updates its weights twice for each batch, as with SAM."""

    def train_step(self, data):
        super().train_step(data)
        return super().train_step(data)


def two_updates():
    made = model()
    twice = TwoUpdates(made.layers, name="digits")
    twice.compile(made.optimizer, made.loss, metrics=["accuracy"], run_eagerly=True)
    return twice


def several_at_once():
    return model(steps_per_execution=3)


def train(dirpath, make, data, *callbacks, epochs=3, policy=EVERY_THIRD, **settings):
    """Return everything in which an uninterrupted run and a resumed one must agree."""
    trained = make()
    settings = {"validation_data": digits()[1], "validation_batch_size": 8, "verbose": 0, "shuffle": False, **settings}
    history = trained.fit(data, epochs=epochs, callbacks=[*callbacks, checkpoint(dirpath, policy)], **settings)
    return fingerprint(trained), history.epoch, history.history


def places(dirpath):
    return [(record.step, record.epoch) for record in Manifest.read(dirpath).live() if not record.superseded]


MAKERS = [scaled, scaled_and_accumulated] + ([two_updates] if BACKEND != "jax" else [])
SOURCES = {
    "tensorflow": [(make, eight) for make in MAKERS]
    + [(model, unknown), (scaled, unknown), (two_updates, unknown), (several_at_once, unknown)],
    "torch": [(make, eight) for make in MAKERS] + [(model, stream)],
    "jax": [(make, eight) for make in MAKERS],
}[BACKEND]
QUICK = [
    source
    for source in SOURCES
    if source[0] is (several_at_once if BACKEND == "tensorflow" else scaled_and_accumulated)
]
CUTS = [("on_test_batch_begin", 2), ("on_test_batch_begin", 6), ("on_train_batch_begin", 14)]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "data"), only_quick(SOURCES, *QUICK), ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("hook", "nth"),
    only_quick(CUTS, CUTS[0]),
    ids=["first validation", "second validation", "mid-epoch"],
)
def test_a_run_that_is_interrupted_ends_like_the_uninterrupted_one(tmp_path, make, data, hook, nth):
    if make is several_at_once and hook == "on_train_batch_begin":
        nth = 5
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", make, data(), At(hook, nth, terminate))
    assert train(tmp_path / "cut", make, data()) == train(tmp_path / "whole", make, data())
    made = places(tmp_path / "whole")
    assert set(made) <= set(places(tmp_path / "cut")), "a resumed run saves at the same places"
    assert [step for step, _ in made] == sorted(step for step, _ in made), "steps never go backwards"


class Compiling(keras.callbacks.Callback):
    """A callback that compiles the model with a new optimizer in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.compile(keras.optimizers.SGD(0.1), self.model.loss, run_eagerly=True)
            self.model.make_train_function()


@TENSORFLOW
def test_an_optimizer_that_is_compiled_within_a_fit_is_counted_from_there(tmp_path, caplog):
    train(tmp_path, lambda: model(**EAGERLY), eight(), Compiling())
    assert "the optimizer counted" not in caplog.text
    assert places(tmp_path)[-1] == (24, 3)


def changing(*lengths):
    """Return a `tf.data` pipeline of unknown length, whose epochs have the given numbers of batches."""
    import tensorflow as tf

    (x, y), _ = digits()
    left = list(lengths)

    def batches():
        length = left.pop(0) if len(left) > 1 else left[0]
        yield from ((x[8 * n : 8 * n + 8], y[8 * n : 8 * n + 8]) for n in range(length))

    kinds = (tf.TensorSpec((8, 64), tf.float32), tf.TensorSpec((8,), tf.int64))
    return tf.data.Dataset.from_generator(batches, output_signature=kinds)


SHORTER = [[Batches, 8, 5], [Batches, 8, 6], [Batches, 8, 8, 3]]  # Keras trains no epoch that is longer than the first
if BACKEND == "tensorflow":
    SHORTER += [[changing, 8, 5]]


@pytest.mark.slow
@pytest.mark.parametrize("data", only_quick(SHORTER, SHORTER[0]))
def test_a_signal_in_the_validation_of_an_epoch_shorter_than_the_first(tmp_path, data):
    make, *lengths = data
    epochs, last = len(lengths), sum(lengths)
    with pytest.raises(SystemExit):
        stop = At("on_test_batch_begin", 4 * epochs - 2, terminate)
        train(tmp_path / "cut", model, make(*lengths), stop, epochs=epochs)
    assert places(tmp_path / "cut")[-1] == (last, epochs - 1)
    resumed = train(tmp_path / "cut", model, make(lengths[-1]), epochs=epochs)  # it begins with the last epoch
    assert resumed == train(tmp_path / "whole", model, make(*lengths), epochs=epochs)
    assert places(tmp_path / "cut")[-1] == places(tmp_path / "whole")[-1] == (last, epochs)
