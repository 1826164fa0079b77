"""Runs that end with an exception in the data or in a step, and data that cannot be resumed exactly."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.stops import POLICY, At, fingerprint
from tests.adapters.keras.task import BACKEND, checkpoint, digits, epochs_of, fit, quick, same
from tests.support.variants import only_quick


class Batches(keras.utils.PyDataset):
    """A data set that raises at the n-th batch that is taken from it."""

    def __init__(self, fails_at=0, **settings):
        super().__init__(**settings)
        self.asked, self.fails_at = 0, fails_at

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.asked += 1
        if self.asked == self.fails_at:
            raise RuntimeError("the disk has gone")
        (x, y), _ = digits()
        return x[index * 16 : index * 16 + 16], y[index * 16 : index * 16 + 16]


def train_on(data, dirpath, trained=None, **settings):
    trained, ours = trained or quick(), checkpoint(dirpath, POLICY)
    trained.fit(data, epochs=3, verbose=0, callbacks=[ours], shuffle=False, **settings)
    return trained


@pytest.mark.slow
def test_an_exception_in_the_data(tmp_path):
    with pytest.raises(Exception, match="the disk has gone") as kept:  # with the traceback, as a notebook would
        train_on(Batches(fails_at=9), tmp_path / "cut")
    last = Manifest.read(tmp_path / "cut").live()[-1]
    assert (last.exceptional, last.reasons, last.step > 4, last.final) == (True, ("exception",), True, False)
    assert fingerprint(train_on(Batches(), tmp_path / "cut")) == fingerprint(train_on(Batches(), tmp_path / "whole"))
    del kept


def test_an_exception_in_a_step(tmp_path):
    class Fails(keras.losses.Loss):
        def call(self, y, prediction):
            if begun == 7:
                raise ZeroDivisionError
            return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, prediction))

    class Counts(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            nonlocal begun
            begun += 1

    begun, trained, ours = 0, quick(), checkpoint(tmp_path, POLICY)
    trained.compile(keras.optimizers.SGD(0.1), Fails(), run_eagerly=True)
    with pytest.raises(ZeroDivisionError):
        trained.fit(Batches(), epochs=3, verbose=0, callbacks=[ours, Counts()], shuffle=False)
    [*_, last] = ours.records()
    assert (last.step, last.epoch, last.exceptional) == (6, 1, True)
    again = quick()
    again.load_weights(last.path)
    assert same(trained, again)
    begun = 0
    train_on(Batches(), tmp_path, trained)  # the directory is free, and so is the train function


@pytest.mark.slow
@pytest.mark.parametrize(
    "hook",
    only_quick(
        ["on_train_batch_begin", "on_test_batch_begin", "on_epoch_end", "on_epoch_begin"],
        "on_test_batch_begin",
        "on_epoch_end",
    ),
)
def test_an_exception_elsewhere_leaves_the_directory_free(tmp_path, hook):
    def fail(callback):
        raise ZeroDivisionError

    trained = quick()
    with pytest.raises(ZeroDivisionError):
        fit(trained, At(hook, 2, fail), checkpoint(tmp_path, POLICY))
    assert epochs_of(trained, checkpoint(tmp_path, POLICY), epochs=1) == [0]
    whole = Policy(Every(epochs=1), KeepAll())
    assert epochs_of(quick(), checkpoint(tmp_path, whole, resume="never"), epochs=1) == [0]


def generator():
    data = Batches()
    while True:
        yield from (data[index] for index in range(4))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, settings, said",
    [
        (Batches, {}, None),
        (lambda: Batches(workers=2), {}, "a PyDataset with several workers"),
        (generator, {"steps_per_epoch": 4}, "a generator cannot be rewound"),
        (Batches, {"steps_per_epoch": 3}, "with steps_per_epoch, an epoch covers only a part of the data"),
    ],
)
def test_what_cannot_be_exact_is_logged_once_when_it_is_saved(tmp_path, caplog, make, settings, said):
    train_on(make(), tmp_path, **settings)
    lines = [message for message in caplog.messages if "is not exact" in message]
    assert len(lines) == (said is not None) and all(said in line and "\n" not in line for line in lines)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="about TensorFlow's own shuffling")
def test_what_tensorflow_shuffles(tmp_path, caplog):
    import tensorflow as tf

    def lines(data):
        caplog.clear()
        trained = quick()
        name = str(len(list(tmp_path.iterdir())))
        trained.fit(*data, epochs=1, verbose=0, callbacks=[checkpoint(tmp_path / name, POLICY)])
        return [message for message in caplog.messages if "is not exact" in message]

    (x, y), _ = digits()
    plain = tf.data.Dataset.from_tensor_slices((x, y))
    assert lines([plain.batch(16)]) == []
    assert "shuffles" in lines([plain.shuffle(64, seed=1).batch(16)])[0]
    assert lines([plain.shuffle(64, seed=1, reshuffle_each_iteration=False).batch(16)]) == []
    assert lines([x, y]) == []
