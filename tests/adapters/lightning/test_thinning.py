"""Rules that need only the weights: Lightning evaluates the reduced files, and resumes from the whole ones."""

import lightning
import pytest
import torch

from ckpt_callbacks import Every, KeepAll, KeepBest, KeepLast, Policy, Status
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, Model, digest, fit, loaders, trainer

BEST_WEIGHTS = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents="weights"))
EACH_WEIGHTS = Policy(Every(epochs=1), KeepAll(contents="weights"))


def test_a_reduced_best_is_evaluated_and_loaded_as_any_other(tmp_path):
    module, fitter, callback = fit(tmp_path, EACH_WEIGHTS)
    first, second, last = callback.records()
    assert [record.status for record in (first, second, last)] == [Status.THINNED, Status.THINNED, Status.VERIFIED]
    assert first.size < 0.8 * last.size
    found = torch.load(second.path, weights_only=True)
    assert "optimizer_states" not in found and found["hyper_parameters"] == {"width": 8}
    assert Model.load_from_checkpoint(first.path).net[0].weight.shape == (8, 10)
    scores = [fitter.validate(module, loaders()[1], ckpt_path=str(r.path), verbose=False)[0]["val_loss"]
              for r in (first, second)]  # fmt: skip
    assert scores == pytest.approx([first.metrics["val_loss"], second.metrics["val_loss"]])


def test_best_is_reduced_and_a_killed_run_resumes_exactly(tmp_path):
    whole = fit(tmp_path / "whole", BEST_WEIGHTS, max_epochs=5)
    fit(tmp_path / "run", BEST_WEIGHTS, max_epochs=3)
    resumed = fit(tmp_path / "run", BEST_WEIGHTS, max_epochs=5, resume=True)
    assert digest(*resumed[:2]) == digest(*whole[:2])
    callback = resumed[2]
    best = callback.best()
    assert best.path == whole[2].best().path.parent.parent / "run" / whole[2].best().file
    score = resumed[1].test(resumed[0], loaders()[1], ckpt_path="best", verbose=False)[0]["test_loss"]
    assert score == pytest.approx(best.metrics["val_loss"])


class Table(Model):
    """A module whose hyperparameters hold an object that `torch.load` refuses without the script's own code."""

    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"kind": Kind()})


class Kind:
    """A class of the script."""


def test_a_file_that_only_the_script_can_read_stays_whole_with_a_line(tmp_path, caplog):
    lightning.seed_everything(7, verbose=False)
    callback = LightningCheckpoint(tmp_path, EACH_WEIGHTS)
    trainer(callback, max_epochs=2).fit(Table(), *loaders())
    assert [record.contents for record in callback.records()] == ["full", "full"]
    (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
    assert "Kind" in line and str(callback.records()[0].path) in line
