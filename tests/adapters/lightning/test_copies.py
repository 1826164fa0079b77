"""Copies and pickles of the callback, and the processes that Lightning starts with them."""

import copy
import json
import pickle

import pytest
from lightning import seed_everything
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import HERE
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer
from tests.support.forks import forks_of


def pickled(value):
    return pickle.loads(pickle.dumps(value))


class Named(LightningCheckpoint):
    """A callback with arguments of its own."""

    def __init__(self, name, *, last):
        super().__init__(f"runs/{name}", Policy(Every(epochs=1), KeepLast(last)), grace="5 s", resume="auto")
        self.last_ones = last


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_is_a_new_callback_with_the_same_arguments(tmp_path, monkeypatch, copied):
    monkeypatch.chdir(tmp_path)
    callback = Named("a", last=2)
    for _ in range(2):  # unused, and used
        found = copied(callback)
        assert type(found) is Named and found.dirpath == callback.dirpath and found.last_ones == 2
        assert found._run.settings == callback._run.settings and found._run.policy == callback._run.policy
        assert found._run is not callback._run and found._resume == "auto"
        if callback.records() == []:
            trainer(callback, max_epochs=1).fit(Model(), *loaders())
    assert [record.step for record in found.records()] == [10]
    trainer(found, max_epochs=2).fit(Model(), *loaders(), ckpt_path="last")
    assert copied(found.records()) == found.records() and [r.step for r in callback.records()] == [10, 20]


def test_a_copy_keeps_what_was_asked_of_the_next_resume(tmp_path):
    fit(tmp_path, max_epochs=1)
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    path = callback.resume_path(only=["weights"])
    seed_everything(1, verbose=False)
    fitter = trainer(pickled(callback), max_epochs=1)
    fitter.fit(Model(), *loaders(), ckpt_path=path)
    assert fitter.global_step == 10 and {record.step for record in callback.records()} == {10}


@pytest.mark.slow
def test_a_trainer_can_be_copied_while_it_trains(tmp_path):
    class Copies(Callback):
        def __init__(self):
            self.copies = []

        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if index == 3:
                self.copies += [copy.deepcopy(trainer)]

    callback = LightningCheckpoint(tmp_path / "a", EACH_EPOCH, staging="memory")
    trainer(made := Copies(), callback, max_epochs=1).fit(Model(), *loaders())
    (copied,) = made.copies
    assert type(copied.strategy.checkpoint_io) is TorchCheckpointIO
    assert copied.checkpoint_callback.dirpath == callback.dirpath


@pytest.mark.parametrize(
    "strategy", ["ddp_fork", *(pytest.param(s, marks=pytest.mark.slow) for s in ("ddp_spawn", "ddp_notebook"))]
)
def test_processes_that_lightning_starts_bring_back_what_they_did(tmp_path, strategy):
    facts = json.loads(forks_of().run(HERE / "train_launched.py", tmp_path / "run", strategy).splitlines()[-1])
    best = str(tmp_path / "run" / "Model-002-10.ckpt")
    assert facts == {"steps": [5, 10], "best": best, "trainer": best, "same weights": True, "tested": True}
