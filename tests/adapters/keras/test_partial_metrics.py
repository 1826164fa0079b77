"""Metrics of an epoch that was resumed midway."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, KeepBest, Metric, Patience, Policy
from tests.adapters.keras.task import BACKEND, ONCE, checkpoint, digits, fit, model, quick, same
from tests.support.variants import only_quick

LOSS = Metric("loss", mode="min")
STEPS = Policy(Every(steps=3) | Every(epochs=1), KeepAll(), best_by=LOSS)


class Called(keras.Model):
    """A model that Keras cannot build in advance, because its call needs real values."""

    def __init__(self):
        super().__init__(name="called")
        self.last = keras.layers.Dense(10)

    def call(self, x):
        return self.last(x * float(x.numpy().shape[0] > 0))


def called():
    keras.utils.set_random_seed(7)
    made = Called()
    made.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], run_eagerly=True
    )
    made(digits()[0][0][:16])
    return made


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("place", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_metrics_are_exact_even_if_they_cannot_be_created_in_advance(tmp_path, place):
    whole, first = called(), checkpoint(tmp_path / "whole", STEPS)
    history = fit(whole, first, epochs=2)
    path = next(record.path for record in first.records() if record.step == place)
    resumed = called()
    again = fit(resumed, checkpoint(tmp_path / "resumed", STEPS, resume=path), epochs=2)
    assert same(whole, resumed) and again.history == history.history


@pytest.mark.slow
@pytest.mark.parametrize("batch_metrics", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_metrics_that_cannot_be_restored_neither_rank_nor_stop_nor_reduce(tmp_path, caplog, batch_metrics):
    def made(metrics):
        return model(metrics=metrics, run_eagerly=BACKEND != "jax")

    policy = Policy(STEPS.save, KeepAll() | KeepBest(1, by=LOSS), stop=Patience(LOSS, checks=1))
    first = checkpoint(tmp_path / "first", STEPS)
    fit(made(["accuracy"]), first, epochs=2)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=9, min_delta=9)
    stopper = keras.callbacks.EarlyStopping("loss", patience=9, min_delta=9)
    place = next(record for record in first.records() if record.step == 6)
    resumed = checkpoint(tmp_path / "resumed", policy, resume=place.path, batch_metrics=batch_metrics)
    history = fit(made([]), resumed, plateau, stopper, epochs=2)
    assert {plateau.best, stopper.best} <= {None, float("inf")}, "they have compared nothing"
    assert history.epoch == [0, 1] and len(history.history["loss"]) == 1 and len(history.history["val_loss"]) == 2
    assert [record.step for record in resumed.records() if "loss" in record.metrics] == []
    assert "so its loss may cover only its last batches" in caplog.text


class Collects(keras.callbacks.Callback):
    """A callback that computes a metric from what it saw in each batch, and one of the validation."""

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        logs["seen"], logs["val_seen"] = float(len(self.seen)), 1.0


class Keeps(Collects):
    """The same, with its state."""

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


class AtOnce(keras.callbacks.Callback):
    """A callback that measures at the epoch's end."""

    def on_epoch_end(self, epoch, logs=None):
        logs["seen"] = 4.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", only_quick([Collects, Keeps, AtOnce], Collects, Keeps), ids=lambda kind: kind.__name__)
def test_what_a_callback_collects_is_left_out_unless_its_state_is_kept(tmp_path, caplog, kind):
    policy = Policy(STEPS.save, KeepAll(), best_by=Metric("seen", mode="min"))
    whole, first = quick(), checkpoint(tmp_path / "first", policy)
    fit(whole, kind(), first, epochs=2)
    resumed, other = quick(), checkpoint(tmp_path / "resumed", policy, resume=first.records()[0].path)
    fit(resumed, kind(), other, epochs=2)
    assert same(whole, resumed)
    metrics = {record.step: record.metrics for record in other.records()}
    assert metrics[4].get("seen") == (None if kind is Collects else 4.0), metrics
    assert metrics[8]["seen"] == 4.0 and "loss" in metrics[4] and (kind is AtOnce or metrics[4]["val_seen"] == 1.0)
    assert ("so its seen may cover only its last batches" in caplog.text) == (kind is Collects)


class Auxiliary(keras.Model):
    """A model with layers that are called only in training."""

    def __init__(self):
        super().__init__(name="auxiliary")
        self.first, self.last = keras.layers.Dense(8, "relu"), keras.layers.Dense(10)
        self.heads = [keras.layers.BatchNormalization(), keras.layers.Dense(10)]

    def call(self, x, training=False):
        hidden = self.first(x)
        if training:
            self.add_loss(0.1 * keras.ops.mean(keras.ops.square(self.heads[1](self.heads[0](hidden, training=True)))))
        return self.last(hidden)


class Noisy(Auxiliary):
    """The same with several inputs."""

    def call(self, inputs, training=False):
        return super().call(inputs["x"] + inputs["y"][0], training=training)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras itself fails on the other backends")
@pytest.mark.parametrize("kind", [Auxiliary, pytest.param(Noisy, marks=pytest.mark.slow)], ids=lambda k: k.__name__)
def test_layers_that_are_called_only_in_training_are_built_for_a_resume(tmp_path, kind):
    (x, y), _ = digits()

    def train(name, **settings):
        keras.utils.set_random_seed(7)
        made, callback = kind(), checkpoint(tmp_path / name, STEPS, **settings)
        made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        data = x if kind is Auxiliary else {"x": x, "y": [x[::-1]]}
        history = made.fit(data, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        return made, callback, history.history

    whole, first, history = train("whole")
    for record in first.records()[:2]:
        resumed, _, again = train(f"from-{record.id}", resume=record.path)
        assert same(whole, resumed) and again == history, record
