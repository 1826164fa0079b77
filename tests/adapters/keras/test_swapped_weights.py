"""Weights that a callback puts in place of the trained ones for a validation are not saved as the trained ones."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.stops import At, fingerprint, stop, terminate
from tests.adapters.keras.task import BACKEND, checkpoint, fit, model, quick, same

SLOW = pytest.mark.slow


class Halves(keras.callbacks.Callback):
    """Measures other weights than those it trains, from the hook ``swap_in`` to the hook ``swap_back``."""

    def __init__(self, swap_in="on_test_begin", swap_back="on_test_end"):
        super().__init__()
        self.kept = None
        setattr(self, swap_in, self.swap_in)
        setattr(self, swap_back, self.swap_back)

    def swap_in(self, *_, **__):
        if self.kept is None:
            self.kept = self.model.get_weights()
            self.model.set_weights([0.5 * value for value in self.kept])

    def swap_back(self, *_, **__):
        if self.kept is not None:
            self.model.set_weights(self.kept)
            self.kept = None


def at_the_first_batch():
    return Halves("on_test_batch_begin")


def until_the_epoch_ends():
    return Halves(swap_back="on_epoch_end")


def averages():
    return keras.callbacks.SwapEMAWeights()


def train(dirpath, make, rule, *others, ours_first=False, epochs=3):
    # Without an average yet, the optimizer's weights and the trained ones would be equal.
    trained = model(keras.optimizers.Adam(0.01, use_ema=True), run_eagerly=True) if make is averages else quick()
    ours = checkpoint(dirpath, Policy(rule, KeepAll()))
    fit(trained, *others, *([ours, make()] if ours_first else [make(), ours]), epochs=epochs)
    return fingerprint(trained)


def weights_in(record):
    loaded = quick()
    loaded.load_weights(record.path)
    return loaded


def records(dirpath):
    return checkpoint(dirpath).records()


MORE = [until_the_epoch_ends] + ([at_the_first_batch] if BACKEND != "jax" else [])  # there, a validation has its copy
CASES = [(Halves, False), *(pytest.param(make, False, marks=SLOW) for make in MORE)]


@pytest.mark.slow
@pytest.mark.parametrize("make, ours_first", [*CASES, pytest.param(Halves, True, marks=SLOW)])
def test_a_signal_in_a_validation_saves_the_trained_weights(tmp_path, make, ours_first):
    whole = train(tmp_path / "whole", make, Every(epochs=1), ours_first=ours_first)
    by_step = {record.step: weights_in(record) for record in records(tmp_path / "whole")}
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", make, OnPreempt(), At("on_test_batch_begin", 2, terminate), ours_first=ours_first)
    [last] = records(tmp_path / "cut")
    assert "preemption" in last.reasons and same(weights_in(last), by_step[last.step])
    assert train(tmp_path / "cut", make, OnPreempt(), ours_first=ours_first) == whole


@pytest.mark.slow
def test_a_signal_while_keras_swaps_its_averages_in_saves_the_trained_weights(tmp_path):
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", averages, OnPreempt(), At("on_test_batch_begin", 2, terminate))
    train(tmp_path / "whole", averages, Every(epochs=1))
    [last], whole = records(tmp_path / "cut"), records(tmp_path / "whole")
    [same_step] = [record for record in whole if record.step == last.step]
    for a, b in zip(weights_in(last).get_weights(), weights_in(same_step).get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)  # swapping by additions, as Keras does on TensorFlow, rounds


@pytest.mark.parametrize("make", [Halves, pytest.param(until_the_epoch_ends, marks=SLOW)])
def test_a_stop_amid_an_epoch_saves_the_trained_weights(tmp_path, make):
    """Keras validates after such a stop, and ends the epoch."""
    for name, callback in (("cut", make), ("plain", keras.callbacks.Callback)):
        train(tmp_path / name, callback, OnPreempt(), At("on_train_batch_end", 3, stop))
    [saved], [plain] = records(tmp_path / "cut"), records(tmp_path / "plain")
    assert saved.step == plain.step == 3 and same(weights_in(saved), weights_in(plain))


class Changes(keras.callbacks.Callback):
    """Changes the weights, or what is trained, in a hook after the validation."""

    def __init__(self, hook, change):
        super().__init__()
        setattr(self, hook, lambda *_, **__: change(self.model))


def halve(trained):
    trained.set_weights([0.5 * value for value in trained.get_weights()])


def freeze(trained):
    trained.layers[0].trainable = False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Halves, 1),
        (lambda: Changes("on_epoch_end", halve), 1),
        pytest.param(
            lambda: Changes("on_epoch_end", freeze),
            0,
            marks=pytest.mark.skipif(BACKEND == "jax", reason="Keras on JAX needs another compile() for it"),
        ),
        pytest.param(lambda: Changes("on_test_end", halve), 1, marks=SLOW),
        pytest.param(lambda: Changes("on_epoch_begin", halve), 0, marks=SLOW),
        pytest.param(until_the_epoch_ends, 1, marks=SLOW),
        pytest.param(lambda: keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), 0, marks=SLOW),
    ],
)
def test_measured_weights_that_are_not_saved_are_logged_once(tmp_path, caplog, make, told):
    train(tmp_path, make, Every(epochs=1))
    assert caplog.text.count("the last validation measured weights that are not saved") == told
