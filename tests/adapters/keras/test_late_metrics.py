"""Metrics that are logged only in some epochs, or under another name after a resume."""

import keras
import pytest

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Patience, Policy
from ckpt_callbacks.errors import MetricError
from tests.adapters.keras.task import ONCE, checkpoint, fit, model, quick
from tests.support.variants import only_quick

MAP, TOP = Metric("val_map", mode="max"), Metric("val_top", mode="max")


class EachNth(keras.callbacks.Callback):
    """Adds a metric to the logs of every n-th epoch, as detection does."""

    def __init__(self, n=3):
        super().__init__()
        self.n = n

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.n == self.n - 1:
            logs["val_map"] = float(epoch)


LATER = Metric("val_map", mode="max", start_from_epoch=2)


@ONCE
@pytest.mark.parametrize(("n", "by"), only_quick([(3, MAP), (2, MAP), (6, MAP), (3, LATER)], (3, MAP)))
def test_a_metric_of_every_nth_epoch_ranks_those_epochs(tmp_path, caplog, n, by):
    ours = checkpoint(tmp_path, Policy(Every(epochs=1) | Improves(by), KeepAll(), stop=Patience(by, checks=3)))
    fit(model(run_eagerly=True), EachNth(n), ours, epochs=6, batch_size=32)
    expected = [(epoch, epoch - 1.0 if epoch % n == 0 else None) for epoch in range(1, 7)]
    assert [(record.epoch, record.metrics.get("val_map")) for record in ours.records()] == expected
    assert ours.best().epoch == 6
    assert caplog.text.count("the metric 'val_map' was never logged; logged names: accuracy, loss") == 1


@ONCE
@pytest.mark.parametrize("callback", [None, EachNth()])
def test_without_validation_data_its_metrics_are_an_error_before_training(tmp_path, callback):
    ours = checkpoint(tmp_path, Policy(Every(epochs=1) | Improves(MAP), KeepAll()))
    settings = {"epochs": 1, "batch_size": 32, "validation_data": None}
    if callback is None:
        with pytest.raises(MetricError, match=r"has no validation data; .*, such as 'map'"):
            fit(quick(), ours, **settings)
    else:
        fit(quick(), callback, ours, **settings)  # it may log them
    assert len(ours.records()) == (callback is not None)
    fit(quick(), checkpoint(tmp_path), **settings)  # the directory is free


@ONCE
@pytest.mark.parametrize("metric", [Metric("val_los", mode="min"), Metric("val_map", mode="min")])
def test_the_epoch_is_saved_before_the_error(tmp_path, metric):
    ours = checkpoint(tmp_path, Policy(Improves(metric)))
    with pytest.raises(MetricError):  # for its name, or its several numbers
        fit(quick(), keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(val_map=[1, 2])), ours)
    assert [(r.step, r.reasons) for r in ours.records()] == [(4, ("before an error about a metric",))]


def metric(name):
    return quick(metrics=[keras.metrics.SparseTopKCategoricalAccuracy(3, name=name)]), []


def callback(name):
    return quick(), [keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update({f"val_{name}": 0.5}))]


class Steps(keras.Sequential):
    """A model whose steps return a metric under a name of their own."""

    def test_step(self, data):
        return super().test_step(data) | {self.layers[-1].name: keras.ops.convert_to_tensor(0.5)}


def step(name):
    made = quick()
    named = Steps([*made.layers[:-1], keras.layers.Dense(10, "softmax", name=name)], name="digits")
    named.compile(made.optimizer, made.loss, run_eagerly=True)
    return named, []


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("named", [metric, callback, step])
def test_a_metric_that_a_resume_renames_is_an_error_and_not_the_end_of_patience(tmp_path, named):
    policy = Policy(Every(epochs=1), KeepAll(), stop=Patience(TOP, checks=4), best_by=TOP)

    def train(name, epochs):
        trained, extra = named(name)
        fit(trained, *extra, checkpoint(tmp_path, policy), epochs=epochs, batch_size=32)

    train("top", 1)
    with pytest.raises(MetricError, match=r"'val_top' was not logged since the start; .*; did you mean 'val_top_1'"):
        train("top_1", 3)
    train("top", 3)


@ONCE
def test_a_short_run_without_the_metric_says_why_it_has_no_best_and_restores_nothing(tmp_path, caplog):
    named = {"monitor": "val_quality", "mode": "max", "restore_best_weights": True}
    ours = checkpoint(tmp_path, None, **named)
    fit(quick(), ours, epochs=1, batch_size=64)
    why = "it was never logged; logged names: accuracy, loss, val_accuracy, val_loss"
    assert f"no checkpoint of this run is the best by val_quality: {why}" in caplog.text
    assert f"restore_best_weights changed nothing: no checkpoint can be ranked by val_quality: {why}" in caplog.text
    assert ours.best() is None
    assert f"{tmp_path}: best() is None: no checkpoint can be ranked by val_quality: {why}" in caplog.text
