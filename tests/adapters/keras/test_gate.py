"""Equal saves of a callback that skips batches until the horizon, and of one that looks at each batch."""

import keras
import pytest

from ckpt_callbacks import At, Every, KeepAll, Policy, Predicate
from ckpt_callbacks.testing import FakeClock
from tests.adapters.keras.task import ONCE, checkpoint, fit, model
from tests.support.training import run_of

pytestmark = [ONCE, pytest.mark.slow]
SAVE = Every(steps=7) | At(steps=[6]) | Every(seconds=0.065)
AWAKE = SAVE | Predicate(lambda event: False)


class Time(keras.callbacks.Callback):
    """A callback with a clock by which a batch takes a hundredth of a second."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_train_batch_begin(self, batch, logs=None):
        self.clock.advance(0.01)


def train(dirpath, save, optimizer=None, **settings):
    clock, kinds = FakeClock(), []
    trained = model(keras.optimizers.SGD(0.1, **(optimizer or {})), run_eagerly=True, **settings)
    callback = checkpoint(dirpath, Policy(save, KeepAll()), clock=clock)
    tell = run_of(callback).observe

    def observe(event, **facts):
        kinds.append(event.kind.value)
        return tell(event, **facts)

    run_of(callback).observe = observe
    fit(trained, Time(clock), callback, batch_size=4, epochs=1, validation_data=None)
    return [(r.step, r.epoch, r.reasons) for r in callback.records()], kinds.count("step_end")


@pytest.mark.parametrize(
    "settings",
    [{}, {"steps_per_execution": 3}, {"optimizer": {"gradient_accumulation_steps": 3}}],
    ids=["plain", "several in one execution", "accumulating"],
)
def test_skipping_batches_does_not_change_what_is_saved(tmp_path, settings):
    expected, events = train(tmp_path / "awake", AWAKE, **settings)
    found, fewer = train(tmp_path / "resting", SAVE, **settings)
    assert found == expected and len(found) > 1
    assert fewer < events
