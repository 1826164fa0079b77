"""Metrics that are not numbers."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import KeepAll, Metric, Policy
from ckpt_callbacks.errors import MetricError
from ckpt_callbacks.policy.triggers import Improves
from tests.adapters.keras.task import EACH_EPOCH, checkpoint, digits, fit, quick


class Logs(keras.callbacks.Callback):
    """A callback that adds a metric to each epoch's logs."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def on_epoch_end(self, epoch, logs=None):
        logs["val_f1"] = self.value


def policy(name):
    return Policy(Improves(Metric(name, mode="max")), KeepAll())


@pytest.mark.parametrize("batch_metrics", [False, True])
def test_a_metric_of_several_numbers_is_named(tmp_path, batch_metrics):
    (x, y), _ = digits()
    y = keras.utils.to_categorical(y, 10)
    trained = quick()
    trained.compile("sgd", "mse", metrics=[keras.metrics.F1Score(average=None, name="f1")], run_eagerly=True)
    ours = checkpoint(tmp_path, policy("f1"), batch_metrics=batch_metrics)
    with pytest.raises(MetricError) as caught:
        trained.fit(x, y, verbose=0, callbacks=[ours])
    assert str(caught.value) == (
        "the metric 'f1' consists of 10 numbers; expected one number, such as that of F1Score(average='macro'), or "
        "another metric in the policy"
    )
    trained.fit(x, y, verbose=0, callbacks=[checkpoint(tmp_path, EACH_EPOCH)])  # the directory is free


@pytest.mark.parametrize("value", [[0.1, 0.2], pytest.param((0.1, 0.2), marks=pytest.mark.slow), np.array([0.1, 0.2])])
def test_a_metric_of_a_callback_that_consists_of_several_numbers_is_named(tmp_path, value):
    with pytest.raises(MetricError, match="'val_f1' consists of 2 numbers"):
        fit(quick(), Logs(value), checkpoint(tmp_path, policy("val_f1")), epochs=1)
    fit(quick(), Logs(value), checkpoint(tmp_path, EACH_EPOCH), epochs=1)  # no rule reads it


def test_none_is_no_measurement(tmp_path):
    either = policy(["val_f1", "val_accuracy"])
    fit(quick(), Logs(None), ours := checkpoint(tmp_path, either), epochs=1)
    assert ours.best().metrics["val_accuracy"] > 0
