"""Resumes with a different optimizer, and from parts of a checkpoint."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, Policy, PolicyError
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.keras import KerasCheckpoint
from tests.adapters.keras.task import BACKEND, EACH_EPOCH, checkpoint, digits, fit, model, same, updates, weights
from tests.adapters.keras.test_optimizers import adam, in_a_list, made

NO_OPTIMIZER = {"optimizer": False}


def with_optimizer(optimizer):
    return lambda: model(optimizer(), run_eagerly=BACKEND != "jax")


def frozen(*places):
    def make():
        trained = with_optimizer(adam)()
        for place in places:
            trained.layers[place].trainable = False
        trained.compile(adam(), trained.loss, run_eagerly=BACKEND != "jax")
        return trained

    return make


def with_schedule():
    return keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 4, 0.9))


OTHERS = {
    "class": (adam, keras.optimizers.SGD, "was written with the optimizer Adam; 'digits' has SGD"),
    "averages": (adam, lambda: keras.optimizers.Adam(use_ema=True), "Adam has 10 variables in the file, and 14 in"),
    "schedule": (adam, with_schedule, "Adam has 10 variables in the file, and 9 in"),
    "momentum": (keras.optimizers.SGD, lambda: keras.optimizers.SGD(momentum=0.9), "SGD has "),
}


@pytest.mark.parametrize("name", ["class", *(pytest.param(name, marks=pytest.mark.slow) for name in list(OTHERS)[1:])])
def test_another_optimizer_is_one_line_before_anything_is_loaded(tmp_path, name, caplog):
    first, other, what = OTHERS[name]
    fit(with_optimizer(first)(), checkpoint(tmp_path), epochs=1)
    resumed = with_optimizer(other)()
    before = weights(resumed)
    with pytest.raises(ResumeError, match=what) as caught:
        fit(resumed, checkpoint(tmp_path), epochs=2)
    assert "\n" not in str(caught.value) and "pass resume={'optimizer': False}; or, with" in str(caught.value)
    assert np.array_equal(weights(resumed), before)
    callback = checkpoint(tmp_path, resume=NO_OPTIMIZER)
    assert fit(resumed, callback, epochs=2).epoch == [0, 1] and updates(resumed) == 4
    assert [(r.step, r.epoch, r.parent) for r in callback.records()][:2] == [(4, 1, None), (8, 2, 1)]
    assert "resuming only from its weights and step, as requested" in caplog.text


def test_a_path_is_resumed_with_another_optimizer_as_the_message_says(tmp_path):
    fit(with_optimizer(adam)(), checkpoint(tmp_path), epochs=2)
    first = checkpoint(tmp_path).records()[0]
    callback, resumed = checkpoint(tmp_path / "other", resume=first.path), with_optimizer(keras.optimizers.SGD)()
    with pytest.raises(
        ResumeError, match=r"or, with resume=PATH, call ckpt.resume_path\(only=\['weights', 'step'\]\) before"
    ):
        fit(resumed, callback, epochs=2)
    callback.resume_path(only=["weights", "step"])
    assert fit(resumed, callback, epochs=2).epoch[-1:] == [1] and callback.last().step == 8


@pytest.mark.parametrize(
    ("format", "now", "what"),
    [
        ("keras", (), "6 variables in the file, and 10"),
        pytest.param("keras", (2,), r"variable 2 with shape \(8, 10\)", marks=pytest.mark.slow),
        pytest.param("h5", (), "6 variables in the file, and 10", marks=pytest.mark.slow),
    ],
)
def test_other_trainable_layers_are_one_line_before_anything_is_loaded(tmp_path, format, now, what):
    fit(frozen(0)(), checkpoint(tmp_path, format=format), epochs=1)
    resumed = frozen(*now)()
    before = weights(resumed)
    with pytest.raises(ResumeError, match=what):
        fit(resumed, checkpoint(tmp_path, format=format), epochs=2)
    assert np.array_equal(weights(resumed), before)
    callback = checkpoint(tmp_path, format=format, resume=NO_OPTIMIZER)
    fit(resumed, callback, epochs=2)
    assert [record.step for record in callback.records()] == [4, 8]


@pytest.mark.skipif(BACKEND == "jax", reason="train steps on JAX know one optimizer")
def test_one_of_several_optimizers_is_named(tmp_path):
    def in_another_list(duel):
        duel.both = [adam(), keras.optimizers.RMSprop(0.01, momentum=0.9)]
        return lambda: duel.both

    (x, y), _ = digits()

    def train(hold, **settings):
        duel, callback = made(hold), checkpoint(tmp_path, **settings)
        duel.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        return callback

    train(in_a_list, resume="never")
    with pytest.raises(ResumeError, match="the optimizer RMSprop has "):
        train(in_another_list)
    assert [record.step for record in train(in_another_list, resume=NO_OPTIMIZER).records()] == [4, 8]


@pytest.mark.slow
def test_a_resume_in_mid_epoch_continues_with_the_rest_of_the_epoch(tmp_path):
    first = checkpoint(tmp_path, Policy(Every(steps=3), KeepAll()))
    fit(with_optimizer(adam)(), first, epochs=1)
    path = first.records()[0].path
    resumed = with_optimizer(keras.optimizers.SGD)()
    other = checkpoint(tmp_path / "other", EACH_EPOCH, resume=path)
    other.resume_path(only=["weights", "step"])
    fit(resumed, other, epochs=2)
    assert updates(resumed) == 5 and [record.step for record in other.records()] == [4, 8]


@pytest.mark.slow
def test_averages_that_are_left_out_are_not_swapped_back(tmp_path):
    def averaging():
        return with_optimizer(lambda: keras.optimizers.Adam(0.01, use_ema=True))()

    def train(trained, epochs, **settings):
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        fit(trained, swap, callback := checkpoint(tmp_path, **settings), epochs=epochs)
        return callback

    first = averaging()
    train(first, 1)
    resumed = with_optimizer(lambda: keras.optimizers.Adam(0.0, use_ema=True))()
    train(resumed, 2, resume=NO_OPTIMIZER)
    assert np.allclose(weights(resumed), weights(first), atol=1e-6) and np.abs(weights(resumed)).max() > 0.1


@pytest.mark.slow
def test_only_weights_begin_a_new_run_at_step_0(tmp_path):
    first = with_optimizer(adam)()
    fit(first, checkpoint(tmp_path), epochs=2)
    for only, iterations in ((["weights"], 4), (["weights", "optimizer"], 8)):
        resumed, callback = with_optimizer(adam)(), checkpoint(tmp_path)
        resumed.optimizer.learning_rate = 0.0
        callback.resume_path(only=only)
        assert fit(resumed, callback, epochs=1).epoch == [0]
        assert updates(resumed) == iterations
        assert [(r.step, r.epoch, r.parent) for r in callback.records()] == [(4, 1, None)]
        if only == ["weights"]:
            assert same(resumed, first)


@pytest.mark.slow
def test_a_yaml_file_says_what_is_restored(tmp_path):
    (tmp_path / "ckpt.yaml").write_text("save: {every: {epochs: 1}}\nresume: {optimizer: false}\n")
    fit(with_optimizer(adam)(), checkpoint(tmp_path), epochs=1)
    callback = KerasCheckpoint.from_yaml(tmp_path / "ckpt.yaml", dirpath=tmp_path)
    resumed = with_optimizer(keras.optimizers.SGD)()
    fit(resumed, callback, epochs=2)
    assert updates(resumed) == 4 and callback.last().step == 8


@pytest.mark.parametrize("only", [["optimizer"], ["weights", "epoch"], "weights", []])
def test_unknown_parts_are_one_clear_line(tmp_path, only):
    with pytest.raises(PolicyError, match=r"resume_path: only is .*; expected a list of 'weights' and any of"):
        checkpoint(tmp_path).resume_path(only=only)
