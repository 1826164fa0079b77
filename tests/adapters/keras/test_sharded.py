"""The best weights in shards: plain Keras reads them, the best ones come back, a fit goes on beside them."""

import keras
import numpy as np
import pytest

import ckpt_callbacks
from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Policy
from ckpt_callbacks.errors import ResumeError
from tests.adapters.keras.task import VAL, checkpoint, digits, fit, quick
from tests.support.command import ckpt

SPLIT = Contents("weights", shards={"max_size": "6 kB"})
RULES = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents=SPLIT))


def loss_of(trained):
    return trained.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("contents", ["full", "weights"])
def test_the_best_weights_are_read_by_plain_keras_and_come_back(tmp_path, contents):
    ours = checkpoint(tmp_path, RULES, contents=contents)
    fit(quick(), ours, epochs=3)
    record = next(record for record in ours.records() if record.file.endswith(".shards"))
    fresh = quick(seed=3)
    fresh.load_weights(record.path / "model.weights.json")
    assert loss_of(fresh) == pytest.approx(record.metrics["val_loss"], rel=1e-5)
    assert len(list(record.path.glob("model_*.weights.h5"))) > 1
    with ckpt_callbacks.native_path(record.path) as native:
        again = quick(seed=4)
        again.load_weights(native) if contents == "weights" else keras.saving.load_model(native)
    assert ckpt("verify", tmp_path).exit_code == 0
    assert ckpt("diff", tmp_path, str(record.id), "last").exit_code == 0
    if contents == "full":  # weights alone do not tell their model
        assert ckpt("export", record.path, "--to", tmp_path / "all.safetensors").exit_code == 0
    trained, best = quick(), checkpoint(tmp_path / "best", RULES, contents=contents, restore_best_weights=True)
    fit(trained, best, epochs=3)
    assert loss_of(trained) == pytest.approx(best.best().metrics["val_loss"], rel=1e-5)


@pytest.mark.slow
def test_a_fit_goes_on_beside_them_and_does_not_resume_from_them(tmp_path):
    whole = quick()
    fit(whole, checkpoint(tmp_path / "whole", RULES), epochs=4)
    fit(quick(), checkpoint(tmp_path / "run", RULES), epochs=2)
    resumed, ours = quick(), checkpoint(tmp_path / "run", RULES)
    fit(resumed, ours, epochs=4)
    assert all(np.array_equal(a, b) for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True))
    split = next(record.path for record in ours.records() if record.file.endswith(".shards"))
    with pytest.raises(ResumeError, match="holds only weights, so a run cannot be resumed from it"):
        fit(quick(), checkpoint(tmp_path / "other", RULES, resume=split), epochs=4)
