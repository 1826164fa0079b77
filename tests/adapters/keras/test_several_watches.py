"""Signals to a process in which several callbacks have `OnPreempt`."""

import os
import shutil
import signal

import keras
import pytest

from ckpt_callbacks import CommitError, Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.keras import KerasCheckpoint
from ckpt_callbacks.keras.replaced_function import ReplacedFunction
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.stops import fingerprint
from tests.adapters.keras.task import ONCE, fit, quick, updates
from tests.support.training import run_of

pytestmark = [ONCE, pytest.mark.usefixtures("handlers")]
WATCHES = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
SAVES_EPOCHS = Policy(Every(epochs=1), KeepAll())


class Terminates(keras.callbacks.Callback):
    """Sends a signal to this process in a hook, at a step."""

    def __init__(self, hook, step, number=signal.SIGTERM):
        super().__init__()
        self.step, self.number, self.sent = step, number, False
        setattr(self, hook, self._act)

    def _act(self, *_, logs=None):
        if updates(self.model) == self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


def last(dirpath):
    record = Manifest.read(dirpath).live()[-1]
    return record.step, record.reasons


@pytest.mark.slow
@pytest.mark.parametrize(
    "policies, hook, number",
    [
        ([WATCHES, WATCHES], "on_train_batch_begin", signal.SIGTERM),
        pytest.param([WATCHES] * 3, "on_train_batch_begin", signal.SIGUSR1, marks=pytest.mark.slow),
        pytest.param([WATCHES, SAVES_EPOCHS, WATCHES], "on_train_batch_begin", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param([WATCHES, WATCHES], "on_test_batch_begin", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param([WATCHES, WATCHES], "on_train_batch_begin", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param([WATCHES, WATCHES], "on_train_end", signal.SIGUSR1, marks=pytest.mark.slow),
    ],
    ids=["two", "three", "not all", "in a validation", "Ctrl-C", "at the end"],
)
def test_each_callback_saves_before_the_process_ends(tmp_path, policies, hook, number):
    step = {"on_test_batch_begin": 4, "on_train_end": 8}.get(hook, 6)
    callbacks = [KerasCheckpoint(tmp_path / str(n), policy) for n, policy in enumerate(policies)]
    with pytest.raises((SystemExit, KeyboardInterrupt)) as end:
        fit(quick(), Terminates(hook, step, number), *callbacks, epochs=2)
    if number == signal.SIGINT:
        assert end.type is KeyboardInterrupt
    else:
        assert end.value.code == 128 + number
    for n, policy in enumerate(policies):
        found = last(tmp_path / str(n))
        if not policy.saves_on_preempt:
            assert found[0] == 4
        else:
            assert found[0] == step and ("preemption" in found[1]) == (hook != "on_train_end")
    del callbacks
    for n, policy in enumerate(policies):
        if policy.saves_on_preempt:  # Keras has no hook by which the others could know that the fit has ended
            fit(quick(), KerasCheckpoint(tmp_path / str(n), policy), epochs=2)


@pytest.mark.parametrize("failing", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_save_that_fails_and_raises_leaves_the_others_their_own(tmp_path, failing):
    callbacks = [KerasCheckpoint(tmp_path / str(n), WATCHES, on_error="raise", background=False) for n in range(2)]
    blocked = tmp_path / str(failing) / ".run" / "staging"

    class Blocks(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if updates(self.model) == 6:
                shutil.rmtree(blocked)
                blocked.touch()

    with pytest.raises(CommitError, match="step 6 was not saved"):
        fit(quick(), Blocks(), Terminates("on_train_batch_begin", 6), *callbacks, epochs=2)
    assert last(tmp_path / str(failing))[0] == 4
    assert last(tmp_path / str(1 - failing)) == (6, ("preemption",))


def test_a_signal_between_two_callbacks_is_answered_by_both(tmp_path):
    class Late(KerasCheckpoint):
        def on_train_batch_begin(self, batch, logs=None):
            if updates(self.model) == 6:
                os.kill(os.getpid(), signal.SIGUSR1)
            super().on_train_batch_begin(batch, logs)

    first, second = KerasCheckpoint(tmp_path / "a", WATCHES), Late(tmp_path / "b", WATCHES)
    with pytest.raises(SystemExit):
        fit(quick(), first, second)
    assert (last(tmp_path / "a")[0], last(tmp_path / "b")[0]) == (7, 6), "each at its next safe point, and no later"


@pytest.mark.slow
@pytest.mark.parametrize("hook, step", [("on_epoch_end", 8), ("on_train_batch_end", 6), ("on_epoch_begin", 4)])
def test_a_fit_within_another_ends_both_and_both_have_saved(tmp_path, hook, step):
    class Nested(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            setattr(self, hook, self.act)

        def act(self, *_, logs=None):
            if updates(self.model) == step:
                inner = KerasCheckpoint(tmp_path / "inner", WATCHES)
                fit(quick(restart=False), Terminates("on_train_batch_begin", 3), inner)

    outer = KerasCheckpoint(tmp_path / "outer", WATCHES)
    with pytest.raises(SystemExit) as end:
        fit(quick(), Nested(), outer)
    assert end.value.code == 128 + signal.SIGTERM
    assert last(tmp_path / "inner") == (3, ("preemption",))
    assert last(tmp_path / "outer")[0] == step and "preemption" in last(tmp_path / "outer")[1]
    trained = quick()
    fit(trained, KerasCheckpoint(tmp_path / "outer", WATCHES))
    assert updates(trained) == 12


@pytest.mark.slow
def test_a_fit_that_failed_does_not_hold_back_a_later_one_or_a_signal_after_it(tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise ZeroDivisionError

    failed = KerasCheckpoint(tmp_path / "failed", WATCHES)
    with pytest.raises(ZeroDivisionError):
        fit(quick(), Fails(), failed)
    with pytest.raises(SystemExit):
        fit(quick(), Terminates("on_train_batch_begin", 3), KerasCheckpoint(tmp_path / "later", WATCHES))
    assert last(tmp_path / "later") == (3, ("preemption",))
    with pytest.raises(ZeroDivisionError):
        fit(quick(), Fails(), failed)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_validation_leaves_no_guard_behind(tmp_path):
    found, model = [], quick()
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: found.append(model.test_function))
    callbacks = [KerasCheckpoint(tmp_path / str(n), WATCHES) for n in range(3)]
    fit(model, watch, *callbacks, epochs=2)
    assert len(found) == 2 and not any(isinstance(function, ReplacedFunction) for function in found)


def test_an_interrupted_validation_leaves_no_guard_behind(tmp_path):
    model = quick()
    with pytest.raises(KeyboardInterrupt):
        callbacks = [KerasCheckpoint(tmp_path / str(n), WATCHES) for n in range(2)]
        fit(model, Terminates("on_test_batch_begin", 4, signal.SIGINT), *callbacks, epochs=2)
    assert not isinstance(model.test_function, ReplacedFunction)


@pytest.mark.parametrize(
    "hook, step, number",
    [
        ("on_test_batch_begin", 4, signal.SIGINT),
        pytest.param("on_test_end", 4, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("on_train_batch_begin", 6, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("on_train_batch_begin", 6, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("on_epoch_end", 8, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_closes_the_fit_of_each_callback(tmp_path, hook, step, number):
    callbacks, model = [KerasCheckpoint(tmp_path / str(n), WATCHES) for n in range(3)], quick()
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        fit(model, Terminates(hook, step, number), *callbacks, epochs=2)
    assert [callback._fit for callback in callbacks] == [None] * 3
    assert not any(run_of(callback).is_open for callback in callbacks)
    assert not isinstance(model.train_function, ReplacedFunction)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(1, 1), pytest.param((1, 2), marks=pytest.mark.slow)])
def test_two_callbacks_resume_in_one_epoch_and_skip_its_batches_once(tmp_path, steps):
    def train(folder, *others):
        callbacks = [
            KerasCheckpoint(tmp_path / folder / str(n), Policy(Every(steps=every) | OnPreempt(), KeepAll()))
            for n, every in enumerate(steps)
        ]
        trained = quick()
        fit(trained, *others, *callbacks, epochs=2)
        return fingerprint(trained)

    with pytest.raises(SystemExit):
        train("cut", Terminates("on_train_batch_begin", 6))
    assert train("cut") == train("whole")
