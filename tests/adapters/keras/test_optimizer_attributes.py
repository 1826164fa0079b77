"""Plain attributes of optimizers that callbacks change during training."""

import keras
import pytest

from tests.adapters.keras.task import ONCE, checkpoint, fit, quick

SCHEDULE = keras.optimizers.schedules.ExponentialDecay


class Sets(keras.callbacks.Callback):
    """Changes an attribute of the optimizer after the first epoch."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_epoch_end(self, epoch, logs=None):
        self.change(self.model.optimizer)


def wrapped():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01, momentum=0.9))


@ONCE
@pytest.mark.parametrize(
    ("make", "holder", "name"),
    [
        (lambda: keras.optimizers.SGD(0.01, momentum=0.9), lambda one: one, "optimizer.momentum"),
        (wrapped, lambda one: one.inner_optimizer, "optimizer/inner_optimizer.momentum"),
        pytest.param(lambda: keras.optimizers.Adam(0.01), lambda one: one, "optimizer.weight_decay",
                     marks=pytest.mark.slow),
        pytest.param(lambda: keras.optimizers.SGD(SCHEDULE(0.01, 5, 0.9)), lambda one: one._learning_rate,
                     "optimizer.learning_rate.decay_rate", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_changed_attribute_is_named_once(tmp_path, make, holder, name, caplog):
    change = Sets(lambda optimizer: setattr(holder(optimizer), name.rpartition(".")[2], 0.5))
    fit(quick(optimizer=make()), change, checkpoint(tmp_path), epochs=2)
    assert [line for line in caplog.messages if "attributes of the optimizer have changed" in line] == [
        f"{tmp_path}: attributes of the optimizer have changed in training and are not saved, so a resumed run has the "
        f"script's values unless a callback sets them again: {name}"
    ]


@ONCE
def test_what_is_restored_is_not_named(tmp_path, caplog):
    rate = Sets(lambda optimizer: setattr(optimizer, "learning_rate", 0.001))
    fit(quick(), rate, checkpoint(tmp_path), epochs=2)
    assert "attributes of the optimizer" not in caplog.text
