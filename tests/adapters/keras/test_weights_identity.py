"""Metrics belong to the weights that were measured, not to a number of steps."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Patience, Policy
from tests.adapters.keras.task import VAL, checkpoint, digits, fit, model, quick, weights
from tests.support.variants import only_quick

NO_RULE = Policy(Every(epochs=50), KeepAll(), best_by=VAL)


def measured(record):
    """What a validation of a checkpoint's weights measures."""
    loaded = model()
    loaded.load_weights(record.path)
    return loaded.evaluate(*digits()[1], verbose=0)[0]


POLICIES = [
    Policy(Every(epochs=2), KeepAll(), best_by=VAL),
    NO_RULE,
    Policy(Every(epochs=50), KeepAll(), best_by=VAL, stop=Patience(VAL, checks=1)),
]


@pytest.mark.parametrize("policy", only_quick(POLICIES, NO_RULE))
def test_a_final_checkpoint_has_the_metrics_of_its_weights(tmp_path, policy):
    callback = checkpoint(tmp_path, policy, filename="{epoch}-{val_loss:.3f}")
    fit(quick(), callback)
    final = callback.final()
    assert final.path.name == f"{final.epoch}-{final.metrics['val_loss']:.3f}.keras" and final.resumable
    assert VAL.score(final) == pytest.approx(measured(final), rel=1e-4)
    assert callback.best() is not None


class Overwrites(keras.callbacks.Callback):
    """Changes weights at the end."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_train_end(self, logs=None):
        self.change(self.model)


def averaged(trained):
    for variable in trained.weights:
        variable.assign(0.9 * variable)


def one_element(trained):
    kernel = keras.ops.convert_to_numpy(trained.weights[0]).copy()
    kernel[0, 0] += 1
    trained.weights[0].assign(kernel)


def set_back(trained):
    trained.set_weights([0.9 * value for value in trained.get_weights()])


@pytest.mark.slow
@pytest.mark.parametrize("change", only_quick([averaged, one_element, set_back], averaged, one_element))
@pytest.mark.parametrize("saved", [True, False])
def test_final_weights_that_were_not_measured_have_no_metrics(tmp_path, change, saved):
    callback = checkpoint(tmp_path, Policy(Every(epochs=1 if saved else 50), KeepAll(), best_by=VAL))
    trained = quick()
    fit(trained, Overwrites(change), callback)
    final = callback.final()
    assert VAL.score(final) is None and final.resumable is not saved
    loaded = model()
    loaded.load_weights(final.path)
    assert (weights(loaded) == weights(trained)).all()


def test_metrics_of_an_epoch_are_not_those_of_a_later_stop(tmp_path):
    """Training goes on for three batches after the last validation."""

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 7:
                self.model.stop_training = True

    callback = checkpoint(tmp_path, NO_RULE)
    fit(quick(), Stops(), callback)
    assert (callback.final().step, callback.final().metrics) == (7, {})
