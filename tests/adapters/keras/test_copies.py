"""Copies and pickles of the callback, as KerasTuner, joblib and scikit-learn make them."""

import copy
import pickle

import pytest
from sklearn.base import clone

from ckpt_callbacks.keras import KerasCheckpoint
from tests.adapters.keras.task import EACH_EPOCH, ONCE, digits, model, new_process

pytestmark = ONCE


class Named(KerasCheckpoint):
    """A callback with arguments of its own."""

    def __init__(self, name, *, best):
        super().__init__(f"runs/{name}", EACH_EPOCH, grace="5 s", restore_best_weights=False, batch_metrics=best)


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda value: pickle.loads(pickle.dumps(value)),
        pytest.param(lambda value: clone(value, safe=False), marks=pytest.mark.slow),
    ],
)
def test_a_copy_is_a_new_callback_with_the_same_arguments(tmp_path, monkeypatch, copied):
    monkeypatch.chdir(tmp_path)
    callback, (train, _) = Named("a", best=True), digits()
    callback.resume_path(only=["weights", "step"])
    for epochs in (1, 2):  # unused, and used
        found = copied(callback)
        assert type(found) is Named and found.dirpath == callback.dirpath and found._run is not callback._run
        assert found._run.settings == callback._run.settings and found._run.policy == callback._run.policy
        assert found._batch_metrics and found._parts == callback._parts
        new_process()
        model().fit(*train, epochs=epochs, callbacks=[callback if epochs == 1 else found], verbose=0)
    assert [record.epoch for record in callback.records()] == [1, 2]
