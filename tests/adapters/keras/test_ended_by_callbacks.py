"""Calls of `fit` that a callback ends before their last epoch."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Policy, Reaches
from tests.adapters.keras.task import EACH_EPOCH, ONCE, VAL, checkpoint, epochs_of, quick

SAID = "a callback has ended this fit by stop_training"


class Stops(keras.callbacks.Callback):
    """Ends the fit in a hook of the second epoch."""

    def __init__(self, hook):
        super().__init__()
        setattr(self, hook, self.stop)
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def stop(self, *_, **__):
        if self.epoch == 1:
            self.model.stop_training = True


def by_patience():
    return keras.callbacks.EarlyStopping("loss", mode="max", patience=1)


GOAL = Policy(Every(epochs=1), KeepAll(), stop=Reaches(VAL, 100.0))


@ONCE
@pytest.mark.parametrize(
    ("make", "policy", "told"),
    [
        (lambda: Stops("on_epoch_end"), EACH_EPOCH, 1),
        (lambda: Stops("on_train_batch_end"), EACH_EPOCH, 1),
        (lambda: Stops("on_test_end"), EACH_EPOCH, 1),
        (by_patience, EACH_EPOCH, 0),
        (keras.callbacks.Callback, GOAL, 0),
        (keras.callbacks.Callback, EACH_EPOCH, 0),
    ],
)
def test_a_fit_that_would_train_on_if_it_is_started_again_says_so(tmp_path, caplog, make, policy, told):
    epochs_of(quick(), make(), checkpoint(tmp_path, policy), epochs=4)
    assert caplog.text.count(SAID) == told
    assert bool(epochs_of(quick(), keras.callbacks.Callback() if told else make(), checkpoint(tmp_path, policy),
                          epochs=4)) == bool(told)  # fmt: skip


@ONCE
def test_a_fit_that_would_begin_anew_does_not_say_that_it_trains_on(tmp_path, caplog):
    done = epochs_of(quick(), Stops("on_epoch_end"), checkpoint(tmp_path, EACH_EPOCH, resume="never"), epochs=4)
    assert len(done) == 2 and SAID not in caplog.text
