"""Snapshots for which training waits, because the model cannot be copied or need not be."""

import importlib.util
import logging
import sys

import keras
import numpy as np
from keras.src.saving import saving_lib

from ckpt_callbacks.formats.keras.suffix import KERAS, LEGACY, WEIGHTS
from ckpt_callbacks.keras import staging
from ckpt_callbacks.keras.model.load import read_embedded
from ckpt_callbacks.keras.model.parts import shapes
from ckpt_callbacks.keras.staging import KerasStaging
from tests.adapters.keras.staged import (
    CARRIED,
    by_keras,
    contents,
    written,
)
from tests.adapters.keras.task import ONCE, quick


def live(snapshot, path):
    assert snapshot.live
    told = snapshot.write(path)
    snapshot.release()
    return told


@ONCE
def test_training_waits_if_nothing_can_be_copied_and_that_is_logged_once(tmp_path, monkeypatch, caplog):
    class Own(keras.Sequential):
        def save(self, *arguments, **settings):
            return super().save(*arguments, **settings)

    real = saving_lib._save_state

    def stricter(saveable, weights_store, *rest, **settings):
        if type(weights_store) is not saving_lib.H5IOStore:
            raise ValueError("only Keras' own store is accepted")
        return real(saveable, weights_store, *rest, **settings)

    trained = quick()
    own = Own([keras.Input((4,)), keras.layers.Dense(2)], name="own")
    cases = {
        "the legacy .h5 format cannot": (trained, LEGACY, None),
        "Own.save is not Keras' own": (own, KERAS, None),
        "only Keras' own store is accepted": (trained, KERAS, (saving_lib, "_save_state", stricter)),
        "MiB are available": (trained, KERAS, ("ckpt_callbacks.memory.arena.available_memory", lambda: 0)),
    }
    for number, (said, (one, suffix, change)) in enumerate(cases.items()):
        taken = KerasStaging()
        with monkeypatch.context() as patch:
            if change is not None:
                patch.setattr(*change)
            caplog.clear()
            for again in range(3):
                if again == 2:
                    taken.release()  # the next model may be a different one
                told = live(taken.stage(one, suffix, CARRIED), path := tmp_path / f"{number}{again}{suffix}")
                assert told.shapes == shapes(one)
            ours = [m for name, _, m in caplog.record_tuples if name == "ckpt_callbacks"]
            assert len(ours) == 2
            assert all(said in m and f"training waits while '{one.name}' is written" in m for m in ours)
        if suffix == KERAS:
            assert contents(path)[1:] == by_keras(one, tmp_path / f"keras{number}.keras")[1:]


class Unreadable(list):
    """A list that cannot be searched."""

    def __iter__(self):
        raise RuntimeError("not now")


class Aside:
    """An object of a user that Keras does not look into."""

    def __init__(self):
        self.items = Unreadable()

    def get_config(self):
        return {}


class Growing(keras.layers.Dense):
    """A layer that stores one number more at each save, up to a limit."""

    def __init__(self, size, limit):
        super().__init__(size)
        self.count, self.limit, self.aside = 0, limit, Aside()

    def save_own_variables(self, store):
        super().save_own_variables(store)
        self.count = min(self.count + 1, self.limit)
        store["counts"] = np.zeros(self.count)


@ONCE
def test_stored_variables_are_planned_again_also_for_a_model_whose_structure_is_unknown(tmp_path, caplog):
    trained = keras.Sequential([keras.Input((4,)), Growing(2, limit=2)], name="growing")
    written(KerasStaging().stage(trained, WEIGHTS, CARRIED), tmp_path / "ours.weights.h5")
    assert contents(tmp_path / "ours.weights.h5") == by_keras(trained, tmp_path / "keras.weights.h5")
    assert not caplog.messages


@ONCE
def test_a_layer_that_stores_other_variables_at_each_save_is_saved_by_keras(tmp_path, caplog):
    trained = keras.Sequential([keras.Input((4,)), Growing(2, limit=99)], name="growing")
    live(KerasStaging().stage(trained, WEIGHTS, CARRIED), tmp_path / "ours.weights.h5")
    assert "its state cannot be copied: its layers store different variables at each save" in caplog.text


@ONCE
def test_without_staging_nothing_is_copied_or_said(tmp_path, caplog):
    live(KerasStaging("none").stage(quick(), KERAS, CARRIED), tmp_path / "a.keras")
    assert read_embedded(tmp_path / "a.keras") == CARRIED
    assert not caplog.messages


@ONCE
def test_a_save_for_which_training_waits_anyway_copies_and_says_nothing(tmp_path, caplog):
    taken, one = KerasStaging(background=False), quick()
    written(taken.stage(one, KERAS, CARRIED), tmp_path / "a.keras")
    assert contents(tmp_path / "a.keras") == by_keras(one, tmp_path / "keras.keras")
    live(taken.stage(one, LEGACY, CARRIED), tmp_path / "a.h5")  # which cannot be written from a copy
    assert not [message for name, _, message in caplog.record_tuples if name == "ckpt_callbacks"]


@ONCE
def test_another_keras_inside_is_no_error(tmp_path, monkeypatch, caplog):
    """The module is imported again, after a class of Keras is removed."""
    for name in ("configuration", "file_plan", "walk"):
        monkeypatch.delitem(sys.modules, f"ckpt_callbacks.keras.model.{name}")
    monkeypatch.delattr("keras.src.optimizers.base_optimizer.BaseOptimizer")
    spec = importlib.util.spec_from_file_location("ckpt_callbacks.keras.staging_anew", staging.__file__)
    anew = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, anew)
    spec.loader.exec_module(anew)
    live(anew.KerasStaging().stage(quick(), WEIGHTS, CARRIED), tmp_path / "a.weights.h5")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "are not as expected: cannot import name 'BaseOptimizer'" in caplog.text
