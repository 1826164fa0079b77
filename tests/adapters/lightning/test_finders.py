"""LearningRateFinder and its like, which save and load checkpoints of their own."""

import dataclasses

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.tuner import Tuner

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, Model, digest, fit, loaders, trainer


class Tuned(Model):
    def __init__(self):
        super().__init__()
        self.lr = 0.02

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the finder writes its checkpoint there


def test_a_search_before_a_fit_does_not_count_as_training(tmp_path, caplog):
    callback, module = LightningCheckpoint(tmp_path / "run", EACH_EPOCH), Tuned()
    fitter = trainer(callback, max_epochs=1)
    Tuner(fitter).lr_find(module, *loaders(), num_training=5)
    assert "nothing left to train" not in caplog.text and callback.records() == []
    fitter.fit(module, *loaders())
    assert [record.step for record in callback.records()] == [10]


def test_a_search_leaves_the_records_of_an_interrupted_run_alone(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "run", extra=[Crash(15)])
    callback = LightningCheckpoint(tmp_path / "run", EACH_EPOCH)
    Tuner(trainer(callback)).lr_find(Tuned(), *loaders(), num_training=5)
    assert [record.final for record in callback.records()] == [False] and callback.final() is None


class Later(LearningRateFinder):
    """The finder of Lightning's documentation, which searches again at some epochs."""

    def on_fit_start(self, *_):
        pass

    def on_train_epoch_start(self, fitter, module):
        if fitter.current_epoch == 2:
            self.lr_find(fitter, module)


@pytest.mark.parametrize("save", [Every(steps=7), Every(epochs=1)], ids=["steps", "epochs"])
def test_a_search_during_training_changes_neither_the_records_nor_the_training(tmp_path, save):
    def train(*callbacks):
        seed_everything(7, verbose=False)
        module = Tuned()
        fitter = trainer(Later(num_training_steps=5, update_attr=False), *callbacks, max_epochs=4)
        fitter.fit(module, *loaders())
        return digest(module, fitter), fitter.global_step

    callback = LightningCheckpoint(tmp_path / "run", Policy(save, KeepAll()))
    found = train(callback)
    steps = [7, 14, 21, 28, 35, 40] if save == Every(steps=7) else [10, 20, 30, 40]
    assert [record.step for record in callback.records()] == steps
    assert found == train()


@dataclasses.dataclass
class Settings:
    rate: float = 0.1


def test_a_search_with_hyperparameters_that_torch_refuses_says_what_helps(tmp_path):
    class Unsafe(Tuned):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"settings": Settings()})

    with pytest.raises(ResumeError, match=r"Settings.*save plain values") as caught:
        Tuner(trainer(LightningCheckpoint(tmp_path / "run", EACH_EPOCH))).lr_find(Unsafe(), *loaders(), num_training=5)
    assert "weights_only=False" not in str(caught.value)
