"""Every kind of interruption, each followed by a resume that must end in exactly the same state."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, OnDeadline, Policy
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.adapters.keras.stops import POLICY, TEN, At, Counter, fingerprint, stop, terminate, train
from tests.adapters.keras.task import ONCE, checkpoint, epochs_of, fit, quick, same
from tests.support.training import look_for_requests_at_once, run_of
from tests.support.variants import only_quick


@pytest.mark.slow
@pytest.mark.parametrize(
    "hook, nth, step",
    only_quick(
        [
            ("on_train_batch_begin", 1, 0),
            ("on_train_batch_begin", 7, 6),
            ("on_train_batch_end", 8, 8),  # the epoch's last batch
            ("on_test_batch_begin", 3, 8),
            ("on_test_end", 2, 8),
        ],
        ("on_test_batch_begin", 3, 8),
    ),
)
def test_a_signal_anywhere(tmp_path, hook, nth, step):
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "cut", At(hook, nth, terminate))
    last = Manifest.read(tmp_path / "cut").live()[-1]
    assert (ended.value.code, last.step, last.epoch, last.status.value) == (143, step, step // 5, "verified")
    assert last.reasons == ("preemption",) and last.metrics == {}
    assert train(tmp_path / "cut") == train(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("act", only_quick([terminate, stop], terminate))
@pytest.mark.parametrize("validates", only_quick([True, False], True))
def test_batch_3_of_10(tmp_path, act, validates):
    settings = TEN if validates else TEN | {"validation_data": None}
    try:
        train(tmp_path / "cut", At("on_train_batch_end", 3, act), **settings)
    except SystemExit as ended:
        assert ended.code == 143 and act is terminate
    assert [r.step for r in Manifest.read(tmp_path / "cut").live()] == [3]
    assert train(tmp_path / "cut", **settings) == train(tmp_path / "whole", **settings)


@pytest.mark.slow
@ONCE
def test_a_schedule_and_a_signal_in_a_validation(tmp_path):
    def adam():
        return keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.03, 3, 0.8))

    with pytest.raises(SystemExit):
        train(tmp_path / "cut", At("on_test_batch_begin", 3, terminate), optimizer=adam())
    assert train(tmp_path / "cut", optimizer=adam()) == train(tmp_path / "whole", optimizer=adam())


@ONCE
def test_a_save_request_does_not_wait_for_a_validation(tmp_path):
    ours = checkpoint(tmp_path, POLICY)
    seen = []

    def wish(callback):
        (tmp_path / "SAVE_NOW").touch()
        look_for_requests_at_once(run_of(ours))

    watch = At("on_test_end", 2, lambda _: seen.extend((r.step, r.reasons) for r in ours.records()))
    fit(quick(), At("on_test_begin", 2, wish), watch, ours, validation_batch_size=4)
    assert seen[-1] == (8, ("on demand",)) and not (tmp_path / "SAVE_NOW").exists()
    assert [(r.step, "val_loss" in r.metrics) for r in ours.records()] == [(4, True), (8, True), (12, True)]


@ONCE
def test_a_weights_checkpoint_is_written_within_a_validation_too(tmp_path):
    trained, ours = quick(), checkpoint(tmp_path, POLICY, contents="weights")
    with pytest.raises(SystemExit):
        fit(trained, At("on_test_batch_begin", 2, terminate), ours)
    again = quick()
    again.load_weights(ours.last().path)
    assert same(trained, again) and (ours.last().step, ours.last().resumable) == (4, False)


@pytest.mark.slow
@ONCE
def test_a_signal_between_two_updates_waits_for_none(tmp_path):
    def accumulating():
        trained = quick()
        trained.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=3), trained.loss, run_eagerly=True)
        return trained

    whole, cut, resumed = accumulating(), accumulating(), accumulating()
    fit(whole, checkpoint(tmp_path / "whole", POLICY))
    with pytest.raises(SystemExit):
        fit(cut, At("on_train_batch_begin", 3, terminate), checkpoint(tmp_path / "cut", POLICY))
    fit(resumed, checkpoint(tmp_path / "cut", POLICY))
    assert fingerprint(resumed) == fingerprint(whole)


@pytest.mark.slow
@ONCE
def test_a_run_that_early_stopping_ended_is_not_trained_further(tmp_path, caplog):
    def impatient():
        return keras.callbacks.EarlyStopping(patience=1, min_delta=9)

    assert epochs_of(quick(), impatient(), checkpoint(tmp_path), epochs=6) == [0, 1]
    assert epochs_of(quick(), impatient(), checkpoint(tmp_path), epochs=6) == []
    assert "stopped before training: keras.EarlyStopping had ended it" in caplog.text
    assert epochs_of(quick(), checkpoint(tmp_path), epochs=3) == [2], "without it, the run goes on"
    [told] = [line for line in caplog.messages if "the callbacks differ from those in the checkpoint" in line]
    assert "keras.EarlyStopping" in told


@pytest.mark.slow
@ONCE
def test_a_second_fit_restores_no_other_callback(tmp_path):
    trained, ours, counter = quick(), checkpoint(tmp_path), Counter()
    fit(trained, ours, counter, epochs=1)
    assert fit(trained, ours, counter, epochs=1).epoch == [0]
    assert counter.facts[:2] == (8, 8)


@pytest.mark.slow
@ONCE
def test_a_failing_state_of_another_callback_costs_no_checkpoint(tmp_path, caplog):
    class Odd(Counter):
        def state_dict(self):
            return {"thread": object()}

    ours = checkpoint(tmp_path)
    fit(quick(), Odd(), ours)
    assert len(ours.records()) == 3
    line = "Odd.state_dict() failed, so its state is not saved: TypeError: object is neither a JSON value nor an array"
    assert caplog.text.count(line) == 1


@pytest.mark.slow
@ONCE
def test_a_deadline_is_met_without_waiting_for_a_validation(tmp_path):
    clock, seen = FakeClock(), []

    class Tick(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            clock.advance(250)  # the deadline comes near as the first validation begins

        def on_test_batch_end(self, batch, logs=None):
            callback.wait()
            seen.append([record.step for record in callback.records()])

    policy = Policy(Every(epochs=1) | OnDeadline(before=600, end=clock.wall() + 800), KeepAll())
    callback = checkpoint(tmp_path, policy, clock=clock)
    fit(quick(), Tick(), callback)
    assert seen[0] == [4], "saved before the first epoch's validation has ended"
    assert callback.records()[0].reasons[0] == "10 minutes before the deadline"
    assert [(record.step, record.epoch) for record in callback.records()] == [(4, 1), (8, 2), (12, 3)], "once"
