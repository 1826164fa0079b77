"""Copies and pickles of the drop-ins, of the trainers that they follow, and the processes that Lightning starts."""

import copy
import io
import json
import pickle
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from tests.drop_ins.lightning_patterns import Logs, listing, train
from tests.support.forks import forks_of

SLOW = pytest.mark.slow
HOOKS = ("setup", "on_fit_start", "on_train_batch_end", "on_validation_end", "on_train_epoch_end", "on_save_checkpoint")


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def saved_by_torch(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class CopyAt(Callback):
    """A callback that copies the trainer, with all callbacks, in one of its hooks."""

    def __init__(self, hook, copied):
        self.hook, self.copied, self.copy = hook, copied, None

    def __getstate__(self):
        return {"hook": "", "copied": None, "copy": None}

    def do(self, hook, trainer):
        if hook == self.hook and self.copy is None:
            self.copy = self.copied(trainer)


for name in HOOKS:
    setattr(CopyAt, name, lambda self, trainer, *_, name=name, **__: self.do(name, trainer))


@pytest.mark.parametrize(
    ("copied", "hook"),
    [
        pytest.param(copied, hook, marks=() if (copied, hook) == (copy.deepcopy, "on_save_checkpoint") else SLOW)
        for copied in (copy.deepcopy, pickled, saved_by_torch)
        for hook in HOOKS
    ],
)
def test_a_copy_in_the_middle_of_a_fit_is_used_for_another_one(tmp_path, copied, hook):
    made = CopyAt(hook, copied)
    checkpoint = ModelCheckpoint(tmp_path / "a", monitor="val_loss", save_last=True, every_n_train_steps=1)
    module = Logs({"val_loss": [0.5, 0.4, 0.3]})
    train(made, EarlyStopping("val_loss"), checkpoint, module=module)
    assert listing(tmp_path / "a") == ["epoch=1-step=4.ckpt", "last.ckpt"]
    found, stopping = made.copy.checkpoint_callback, made.copy.early_stopping_callback
    assert type(found) is ModelCheckpoint and found is not checkpoint and type(stopping) is EarlyStopping
    found.dirpath = str(tmp_path / "b")
    train(stopping, found, module=Logs({"val_loss": [0.2, 0.1]}))
    assert found.best_model_path == str(tmp_path / "b" / "epoch=1-step=4.ckpt") and Path(found.best_model_path).exists()


@pytest.mark.parametrize(
    "strategy", [pytest.param("ddp_fork", marks=SLOW), pytest.param("ddp_spawn", marks=pytest.mark.soak)]
)
def test_processes_that_lightning_starts_bring_back_what_they_did(tmp_path, strategy):
    script = Path(__file__).parent / "train_launched.py"
    facts = json.loads(forks_of().run(script, tmp_path / "run", strategy).splitlines()[-1])
    assert facts.pop("best") in facts["files"]
    assert facts == {
        "files": ["epoch=0-step=5.ckpt", "epoch=1-step=10.ckpt", "last.ckpt"], "steps": 10, "same weights": True
    }  # fmt: skip
