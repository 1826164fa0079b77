"""Compressed checkpoints: a fit resumes from one, and its weights come back, as from the native file."""

import tempfile

import keras
import numpy as np
import pytest

import ckpt_callbacks
from ckpt_callbacks import Every, KeepAll, KeepBest, Policy
from ckpt_callbacks.errors import ResumeError, VerifyError
from ckpt_callbacks.keras.model.equal_weights import has_weights_of
from ckpt_callbacks.keras.model.load import read_embedded
from tests.adapters.keras.task import VAL, checkpoint, digits, fit, model, quick
from tests.adapters.lightning.test_compressed import compressed

ALL = Policy(Every(epochs=1), KeepAll())
BEST = Policy(Every(epochs=1), KeepAll() | KeepBest(1, by=VAL))


@pytest.mark.slow
@pytest.mark.parametrize("format", [None, pytest.param("h5", marks=pytest.mark.slow)])
def test_a_fit_resumes_exactly_from_a_compressed_one(tmp_path, format):
    whole = model()
    fit(whole, checkpoint(tmp_path / "whole", ALL, format=format), epochs=4)
    fit(model(), checkpoint(tmp_path / "run", ALL, format=format), epochs=3)
    path = compressed(tmp_path / "run", 2)
    resumed, ours = model(), checkpoint(tmp_path / "run", ALL, format=format)
    assert ours.resume_path() == str(path)
    fit(resumed, ours, epochs=4)
    assert all(np.array_equal(a, b) for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True))
    assert len(ours.records()) == 4 and not any((tmp_path / "run" / ".run" / "staging").iterdir())


@pytest.mark.slow
def test_the_best_weights_come_back_from_a_compressed_one(tmp_path):
    fit(model(), first := checkpoint(tmp_path, BEST), epochs=2)
    best = first.best()
    compressed(tmp_path, best.epoch)
    trained, ours = model(), checkpoint(tmp_path, BEST, restore_best_weights=True)
    fit(trained, ours, epochs=2)
    loss = trained.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(best.metrics["val_loss"], rel=1e-5)
    with ckpt_callbacks.native_path(ours.best().path) as file:
        loaded = keras.saving.load_model(file)
    assert loaded.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"] == pytest.approx(loss)


@pytest.mark.parametrize("contents", ["full", "weights"])
def test_a_compressed_one_is_looked_into_without_a_native_file(tmp_path, monkeypatch, contents):
    trained = quick()
    fit(trained, checkpoint(tmp_path, ALL, contents=contents), epochs=1)
    path = compressed(tmp_path, 1)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", None)
    assert has_weights_of(trained, path) and not has_weights_of(quick(), path)
    if contents == "full":
        assert read_embedded(path).record["epoch"] == 1


@pytest.mark.slow
def test_errors_name_the_compressed_one(tmp_path):
    fit(quick(), checkpoint(tmp_path / "run", ALL), epochs=1)
    path = compressed(tmp_path / "run", 1)
    other = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(3, name="other")])
    other.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ResumeError, match=rf"^{path}: "):
        fit(other, checkpoint(tmp_path / "other", ALL, resume=path), epochs=2)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerifyError, match=rf"^{path}: is damaged: "):
        fit(quick(), checkpoint(tmp_path / "other", ALL, resume=path), epochs=2)
