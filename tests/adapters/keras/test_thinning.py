"""Rules that need only the weights: Keras loads the reduced files, and resumes from the whole ones."""

import warnings

import h5py
import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, KeepBest, KeepLast, Policy, Status
from ckpt_callbacks.formats.keras.archive import WEIGHTS
from ckpt_callbacks.formats.keras.check import tensors
from ckpt_callbacks.formats.zip_member import open_member
from tests.adapters.keras.task import VAL, checkpoint, digits, fit, model, quick
from tests.adapters.keras.test_optimizers import in_a_list, in_attributes, made

EACH_WEIGHTS = Policy(Every(epochs=1), KeepAll(contents="weights"))
BEST_WEIGHTS = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents="weights"))


def loss_of(path):
    with warnings.catch_warnings(record=True):  # Keras says that the optimizer has no state
        warnings.simplefilter("always")
        loaded = keras.saving.load_model(path)
    return loaded.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]


@pytest.mark.parametrize("format", [None, "h5"])
def test_a_reduced_file_is_loaded_and_evaluated_as_any_other(tmp_path, format):
    ours = checkpoint(tmp_path, EACH_WEIGHTS, format=format)
    fit(quick(), ours)
    first, second, last = ours.records()
    assert [record.status for record in (first, second, last)] == [Status.THINNED, Status.THINNED, Status.VERIFIED]
    assert first.size < 0.8 * last.size
    for record in (first, second):
        assert loss_of(record.path) == pytest.approx(record.metrics["val_loss"], rel=1e-5)


def test_a_run_resumes_and_the_best_weights_come_back(tmp_path):
    whole = model()
    fit(whole, checkpoint(tmp_path / "whole", BEST_WEIGHTS), epochs=5)
    fit(model(), checkpoint(tmp_path / "run", BEST_WEIGHTS), epochs=3)
    resumed, ours = model(), checkpoint(tmp_path / "run", BEST_WEIGHTS)
    fit(resumed, ours, epochs=5)
    assert all(np.array_equal(a, b) for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True))
    again = checkpoint(tmp_path / "best", BEST_WEIGHTS, restore_best_weights=True)
    trained = model()
    fit(trained, again, epochs=5)
    loss = trained.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(again.best().metrics["val_loss"], rel=1e-5)


@pytest.mark.parametrize("hold", [in_attributes, in_a_list])
def test_the_state_of_each_optimizer_goes(tmp_path, hold):
    (x, y), _ = digits()
    duel, ours = made(hold), checkpoint(tmp_path, EACH_WEIGHTS)
    duel.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[ours])
    reduced, whole = (names_in(record.path) for record in ours.records())
    assert len(reduced) == len(duel.weights) and reduced < whole
    assert {name.partition("/")[0] for name in whole - reduced} >= {"optimizer"}


def names_in(path):
    with open_member(path, WEIGHTS) as member, h5py.File(member) as file:
        return {name for name, _ in tensors(file)}
