"""Several fits of one callback in one process: folds, phases, and runs that continue."""

import pytest
import torch

from ckpt_callbacks import Every, Improves, KeepBest, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, VAL, Model, loaders, trainer, weights


class Fold(Model):
    """A model whose validation loss depends only on its fold, so that confused folds are noticed."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def validation_step(self, batch, index):
        self.log("val_loss", self.losses[min(self.current_epoch, len(self.losses) - 1)])


POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepBest(1, by=VAL), stop=Patience(VAL, checks=2))


def test_each_fold_of_one_callback_is_trained_and_has_its_own_best(tmp_path, caplog):
    callback = LightningCheckpoint(tmp_path, POLICY)
    for losses in ([0.2, 0.1], [0.9, 0.8], [0.7, 0.5]):
        fold, fitter = Fold(losses), trainer(callback, max_epochs=2)
        fitter.fit(fold, *loaders())
        assert (fitter.global_step, fitter.current_epoch) == (20, 2)
        assert callback.best().metrics["val_loss"] == pytest.approx(losses[1])
        best = torch.load(callback.best_model_path, weights_only=True)["state_dict"]
        assert torch.equal(best["net.0.weight"], fold.net[0].weight)
    assert caplog.text.count("another model is trained with the callback of an earlier fit") == 2


def test_the_same_model_that_begins_at_step_0_again_is_a_new_run(tmp_path, caplog):
    callback, module = LightningCheckpoint(tmp_path, POLICY), Fold([0.5, 0.6, 0.7, 0.8])
    for _ in range(2):
        fitter = trainer(callback, max_epochs=5)
        fitter.fit(module, *loaders())
        assert fitter.current_epoch == 3, "two checks without an improvement, counted anew"
    assert "training begins again at step 0" in caplog.text


def test_a_fold_after_one_that_failed_is_a_new_run(tmp_path):
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    with pytest.raises(ZeroDivisionError):
        trainer(Crash(15), callback, max_epochs=3).fit(Model(), *loaders())
    trainer(callback, max_epochs=1).fit(Model(), *loaders())
    assert [(record.step, record.attempt) for record in callback.records()] == [(10, 1)]


def test_folds_that_resume_each_other_are_logged(tmp_path, caplog):
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    for _ in range(2):
        trainer(callback, max_epochs=1).fit(Model(), *loaders(), ckpt_path=callback.resume_path())
    assert "nothing left to train; the run ended at step 10, with another model in this process" in caplog.text


def test_a_model_that_a_second_trainer_resumes_from_its_checkpoint_is_the_same_run(tmp_path, caplog):
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    for epochs in (1, 2):
        module = Model()
        trainer(callback, max_epochs=epochs).fit(module, *loaders(), ckpt_path=callback.resume_path())
    assert [(record.epoch, record.attempt) for record in callback.records()] == [(1, 1), (2, 2)]
    assert "new run" not in caplog.text and weights(module).isfinite().all()
