"""Runs that end in NaN, and are started again."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, KeepLast, NonFinite, Policy
from tests.adapters.keras.task import BACKEND, ONCE, checkpoint, epochs_of, fit, quick, same, weights

TERMINATE = keras.callbacks.TerminateOnNaN
EACH = Policy(Every(epochs=1), KeepLast(2))
STOPS = Policy(Every(epochs=1), KeepAll(), stop=NonFinite("loss"))
WAYS = [
    pytest.param(STOPS, (), id="the policy ends it"),
    pytest.param(EACH, (TERMINATE,), id="a callback ends it", marks=pytest.mark.slow),
    pytest.param(EACH, (), id="nothing ends it", marks=pytest.mark.slow),  # and no rule keeps a good checkpoint
]


class Spoil(keras.callbacks.Callback):
    """Bad data in one epoch, which makes the weights NaN or infinite."""

    def __init__(self, epoch=1, value=np.nan):
        super().__init__()
        self.epoch, self.value = epoch, value

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            kernel = self.model.layers[0].kernel
            kernel.assign(kernel.numpy() * self.value if BACKEND != "torch" else kernel.value * self.value)


def spoiled(dirpath, policy, *others, epochs=3, **settings):
    ours = checkpoint(dirpath, policy, **settings)
    fit(quick(), Spoil(), *others, ours, epochs=epochs)
    return ours


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "others"), WAYS)
def test_a_run_that_ended_in_nan_continues_from_the_last_good_checkpoint(tmp_path, caplog, policy, others):
    first = spoiled(tmp_path, policy, *(kind() for kind in others))
    last = first.last()
    assert np.isnan(weights(keras.saving.load_model(last.path))).any()
    assert (last.finite, last.resumable) == (False, False) and "NaN or infinity in its weights" in caplog.text
    again, ours = quick(), checkpoint(tmp_path, policy)
    assert epochs_of(again, *(kind() for kind in others), ours, epochs=3) == [1, 2]
    whole = quick()  # last, because the order of the data follows from the seed that it sets
    fit(whole, checkpoint(tmp_path / "whole", policy), epochs=3)
    assert same(again, whole)
    assert "NaN or infinity in the weights" in caplog.text and last.file in caplog.text
    assert ours.last().finite and ours.last().epoch == 3


@ONCE
@pytest.mark.slow
def test_without_a_good_checkpoint_training_starts_from_scratch_unless_a_path_is_given(tmp_path, caplog):
    ours = checkpoint(tmp_path, EACH)
    fit(quick(), Spoil(0), ours, epochs=1)
    assert "there is no other" not in caplog.text
    assert epochs_of(quick(), checkpoint(tmp_path, EACH, resume=ours.last().path), epochs=2) == [1]
    assert epochs_of(quick(), checkpoint(tmp_path, EACH), epochs=2) == [0, 1]
    assert "there is no other checkpoint to resume from" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_resume_from_nan_says_so_if_the_record_cannot(tmp_path, caplog, known):
    """A record that was restored from its file does not know what a search has found; one that is listed does."""
    spoiled(tmp_path, EACH, epochs=2)
    if not known:
        (lost,) = tmp_path.rglob("manifest.jsonl")
        lost.unlink()
    fit(quick(), ours := checkpoint(tmp_path, EACH), epochs=3)
    assert ours.records()[0].finite
    assert caplog.text.count("the loaded weights hold NaN or infinity") == (not known)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"staging": "none"}, {"background": False}, {"format": "h5"}], ids=str)
def test_every_writer_looks_for_nan(tmp_path, settings):
    ours = spoiled(tmp_path, Policy(Every(epochs=1), KeepAll()), epochs=2, **settings)
    assert [record.finite for record in ours.records()[:2]] == [True, False]


class Masked(keras.layers.Layer):
    """A mask of infinities, which training does not change."""

    def build(self, shape):
        self.mask = self.add_weight(shape=(3, 3), initializer=keras.initializers.Constant(-np.inf), trainable=False)

    def call(self, x):
        return x


@ONCE
@pytest.mark.slow
def test_masks_may_be_infinite(tmp_path):
    masked, ours = keras.Sequential([Masked(), keras.layers.Dense(10, "softmax")]), checkpoint(tmp_path, EACH)
    masked.compile(loss="sparse_categorical_crossentropy", run_eagerly=True)
    fit(masked, ours, epochs=1)
    assert np.isinf(masked.layers[0].mask.numpy()).all() and ours.last().finite
