"""Effects of other callbacks in the hooks of the event that saves; they are in the checkpoint exactly once."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.stops import At, fingerprint, terminate
from tests.adapters.keras.task import checkpoint, fit, quick

THIRDS = Policy(Every(epochs=1) | Every(steps=3) | OnPreempt(), KeepAll())
SLOW = pytest.mark.slow


class Average(keras.callbacks.Callback):
    """Keeps an average of the weights, and adds noise to the weights, in one hook; its state is saved."""

    def __init__(self, hook):
        super().__init__()
        self.average = None
        setattr(self, hook, self.update)

    def update(self, *_, **__):
        values = self.model.get_weights()
        before = self.average or values
        self.average = [0.9 * old + 0.1 * new for old, new in zip(before, values, strict=True)]
        self.model.set_weights([value + np.random.normal(0, 0.01, value.shape) for value in values])

    def state_dict(self):
        return {"average": self.average}

    def load_state_dict(self, state):
        self.average = state["average"]


class Draws(keras.callbacks.Callback):
    """Draws random numbers when training begins, after a resume may have restored the random state."""

    def __init__(self, hook):
        super().__init__()
        setattr(self, hook, lambda *_, **__: [np.random.normal(), keras.random.normal((2,))])


def train(dirpath, callback, *others, ours_first, **settings):
    trained, ours = quick(), checkpoint(dirpath, THIRDS, **settings)
    fit(trained, *others, *([ours, callback] if ours_first else [callback, ours]))
    return fingerprint(trained), [np.asarray(value).tolist() for value in getattr(callback, "average", None) or ()]


HOOKS = ["on_train_batch_end", "on_epoch_end", "on_train_batch_begin", "on_epoch_begin", "on_test_end"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, hook, ours_first",
    [
        (Average, "on_train_batch_end", True),
        (Draws, "on_train_begin", True),
        *(pytest.param(Average, hook, True, marks=SLOW) for hook in HOOKS[1:]),
        *(pytest.param(Average, hook, False, marks=SLOW) for hook in HOOKS[:2]),
        *(pytest.param(Draws, hook, True, marks=SLOW) for hook in HOOKS),
    ],
)
def test_a_resume_neither_repeats_nor_loses_them(tmp_path, make, hook, ours_first):
    whole = train(tmp_path / "whole", make(hook), ours_first=ours_first)
    places = {(record.step, record.epoch): record.path for record in Manifest.read(tmp_path / "whole").live()}
    place = places[(8, 2) if hook in ("on_epoch_end", "on_test_end") else (6, 1)]
    assert train(tmp_path / "again", make(hook), ours_first=ours_first, resume=place) == whole


@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("make", [Average, Draws])
def test_a_signal_does_not_change_that(tmp_path, make, hook):
    whole = train(tmp_path / "whole", make(hook), ours_first=True)
    for place, nth in (("on_train_batch_end", 6), ("on_test_batch_begin", 2)):
        with pytest.raises(SystemExit):
            train(tmp_path / place, make(hook), At(place, nth, terminate), ours_first=True)
        assert train(tmp_path / place, make(hook), ours_first=True) == whole, place
