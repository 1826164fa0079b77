"""The best checkpoints as whole numbers: Lightning evaluates them through the callback, and the run resumes exactly."""

import pytest
import torch

from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Policy, load_weights
from tests.adapters.lightning.reduced_runs import resumed_exactly
from tests.adapters.lightning.task import VAL, Model, loaders
from tests.support.command import ckpt

BEST_QUANTIZED = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents=Contents("weights", "int8")))


def test_the_best_are_evaluated_as_before_and_the_run_resumes_exactly(tmp_path):
    _, module, fitter, thinned = resumed_exactly(tmp_path, BEST_QUANTIZED, BEST_QUANTIZED)
    assert thinned and all(record.reduced["dtype"] == "int8" for record in thinned)
    for record in thinned:
        score = fitter.validate(module, loaders()[1], ckpt_path=str(record.path), verbose=False)[0]["val_loss"]
        assert score == pytest.approx(record.metrics["val_loss"], rel=0.02)
        held = Model()
        held.load_state_dict(load_weights(record.path))
        assert all(torch.equal(a, b) for a, b in zip(held.parameters(), module.parameters(), strict=True))
    assert ckpt("verify", tmp_path / "run").exit_code == 0
    assert "weights, int8" in ckpt("ls", tmp_path / "run").stdout
    shown = ckpt("show", tmp_path / "run", thinned[0].id).stdout
    assert "contents: weights, int8" in shown and "net.0.weight" in shown
