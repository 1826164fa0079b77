"""Calls of `fit` that a callback ends before their last epoch."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Metric, Policy, Reaches
from tests.adapters.keras.stops import fingerprint
from tests.adapters.keras.task import EACH_EPOCH, ONCE, VAL, checkpoint, epochs_of, quick

SAID = "a callback has ended this fit by stop_training"
AGAIN = "this fit had ended after 2 of 4 epochs, by stop_training or by a rule that does not stop it now; it trains on"


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


@pytest.mark.slow
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


@ONCE
@pytest.mark.parametrize("stops_first", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("amid", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_fit_that_the_policy_of_one_callback_ends_is_ended_for_the_others(tmp_path, caplog, stops_first, amid):
    goal = Policy(Every(epochs=1), KeepAll(), stop=Reaches(Metric("loss", mode="min", per="step"), 100.0))

    def trained():
        ours = [checkpoint(tmp_path / "a", goal if amid else GOAL, batch_metrics=amid), checkpoint(tmp_path / "b")]
        return epochs_of(quick(), *(ours if stops_first else ours[::-1]), epochs=4)

    assert trained() == [0]
    assert SAID not in caplog.text
    assert trained() == []
    assert "this fit had ended" not in caplog.text


@ONCE
def test_a_restart_that_trains_on_after_such_an_end_says_so(tmp_path, caplog):
    epochs_of(quick(), Stops("on_epoch_end"), checkpoint(tmp_path), epochs=4)
    assert AGAIN not in caplog.text
    assert epochs_of(quick(), Stops("on_epoch_end"), checkpoint(tmp_path), epochs=4) == [2, 3]
    assert caplog.text.count(AGAIN) == 1


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("settings", [{"epochs": 5}, {"epochs": 4, "resume": "last"}], ids=["more epochs", "a path"])
def test_a_restart_that_asks_to_train_on_gets_no_such_line(tmp_path, caplog, settings):
    ours = checkpoint(tmp_path)
    epochs_of(quick(), Stops("on_epoch_end"), ours, epochs=4)
    where = ours.last().path if settings.pop("resume", None) else "auto"
    assert epochs_of(quick(), checkpoint(tmp_path, resume=where), **settings)[:2] == [2, 3]
    assert "this fit had ended" not in caplog.text


@ONCE
@pytest.mark.parametrize(
    "settings",
    [{"restore_best_weights": True}, {}, pytest.param({"min_delta": 0.5}, marks=pytest.mark.slow)],
    ids=["best weights", "plain", "min_delta"],
)
def test_a_fit_that_early_stopping_ended_trains_nothing_at_a_later_start(tmp_path, caplog, settings):
    def trained():
        model = quick()
        stops = keras.callbacks.EarlyStopping("loss", mode="max", patience=1, **settings)
        return epochs_of(model, stops, checkpoint(tmp_path), epochs=4), fingerprint(model)

    first = trained()
    assert len(first[0]) == 2
    for _ in range(2):
        assert trained() == ([], first[1])
    assert SAID not in caplog.text and "this fit had ended" not in caplog.text
