"""Failures of Lightning's asynchronous plugin, none of which background saves have (docs/peer-failures.md)."""

import os
import signal
import threading
from collections.abc import Callable

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from ckpt_callbacks import At, CommitError, Every, Improves, KeepAll, KeepBest, Policy, Status
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import VAL, Model, loaders, trainer
from tests.system.competitors.background import Writes, wait_for
from tests.system.competitors.competitor import fails, faulty
from tests.system.competitors.lightning_runs import Rising


def fit(module, *callbacks, **settings):
    lightning.seed_everything(7, verbose=False)
    fitter = trainer(*callbacks, **settings)
    fitter.fit(module, *loaders())
    return fitter


@pytest.mark.slow
def test_l4_a_kill_while_the_new_best_is_queued_leaves_the_old_one(tmp_path):
    """Lightning 1150: the plugin only queues the new best, and ModelCheckpoint deletes the old one at once."""
    codes = faulty("lightning_faults.py", "queued", tmp_path)
    assert codes == {"ours": -signal.SIGKILL, "theirs": -signal.SIGKILL}
    (old,) = Manifest.read(tmp_path / "ours").live()
    verify(old)
    assert old.step == 10 and torch.load(tmp_path / "ours" / "best.ckpt", weights_only=True)["global_step"] == 10
    fails("lightning", not list((tmp_path / "theirs").glob("*.ckpt")))


class Noted(Model):
    """A module with an array that counts the steps, and is changed in place."""

    def __init__(self):
        super().__init__()
        self.noted, self.steps = np.zeros(100), 0

    def optimizer_step(self, *args, **given):
        super().optimizer_step(*args, **given)
        self.steps += 1
        self.noted[...] = self.steps

    def on_save_checkpoint(self, checkpoint):
        checkpoint["noted"] = self.noted


def test_l5_an_array_is_of_the_same_step_as_the_tensors(tmp_path):
    """Lightning 20953: the plugin copies only tensors, and pickles the rest at a later step."""

    def noted_in(folder):
        found = [torch.load(path, weights_only=False) for path in folder.glob("*-*.ckpt") if not path.is_symlink()]
        return [(checkpoint["global_step"], set(checkpoint["noted"].tolist())) for checkpoint in found]

    module = Noted()
    writes = Writes(lambda step: wait_for(lambda: module.steps >= min(step + 3, 28)))
    ours = LightningCheckpoint(tmp_path / "ours", Policy(Every(steps=7), KeepAll()))
    fit(module, writes.of_ours(ours), max_steps=28)
    found = noted_in(tmp_path / "ours")
    assert len(found) == 4 and all(noted == {step} for step, noted in found)

    module = Noted()
    writes = Writes(lambda step: wait_for(lambda: module.steps >= min(step + 3, 28)))
    theirs = ModelCheckpoint(tmp_path / "theirs", every_n_train_steps=7, save_top_k=-1)
    fit(module, theirs, plugins=[writes.plugin()], max_steps=28)
    fails("lightning", any(noted != {step} for step, noted in noted_in(tmp_path / "theirs")))


class Tied(Model):
    """A module of two layers that share one weight, which is nearly the whole model."""

    def __init__(self):
        super().__init__()
        one, two = torch.nn.Linear(300, 300), torch.nn.Linear(300, 300)
        two.weight = one.weight
        self.net = torch.nn.Sequential(torch.nn.Linear(10, 300), one, two, torch.nn.Linear(300, 1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.001)


def test_l6_tied_weights_stay_tied_and_are_written_once(tmp_path):
    """The plugin clones each tensor separately, so shared weights are duplicated, and the file is twice as large."""
    ours = LightningCheckpoint(tmp_path / "ours", Policy(Every(epochs=1), KeepAll()))
    fit(Tied(), ours, max_epochs=1)
    size = sum(parameter.nbytes for parameter in Tied().parameters())
    assert size < ours.last().size < 1.2 * size
    state = torch.load(ours.last().path, weights_only=True)["state_dict"]
    assert state["net.1.weight"].data_ptr() == state["net.2.weight"].data_ptr()

    theirs = ModelCheckpoint(tmp_path / "theirs")
    fit(Tied(), theirs, plugins=[Writes(lambda step: None).plugin()], max_epochs=1)
    fails("lightning", os.path.getsize(theirs.best_model_path) > 1.8 * size)


@pytest.mark.parametrize("max_pending", [1, 2])
@pytest.mark.slow
def test_l7_no_more_snapshots_wait_than_were_allowed(tmp_path, max_pending):
    """The plugin's queue has no bound: with a slow disk, each save holds one more copy of the model."""
    saves, pause = 16, threading.Event()

    def until_as_many_wait_as_may(step):
        pause.wait(0.03)
        wait_for(lambda: writes.asked - writes.done >= max_pending or writes.asked == saves)

    writes = Writes(until_as_many_wait_as_may)
    ours = LightningCheckpoint(tmp_path / "ours", Policy(Every(steps=1), KeepAll()), max_pending=max_pending)
    fit(Model(), writes.of_ours(ours), max_steps=saves)
    assert len(ours.records()) == saves
    assert writes.most == max_pending

    writes = Writes(lambda step: wait_for(lambda: writes.asked == saves))
    theirs = ModelCheckpoint(tmp_path / "theirs", every_n_train_steps=1, save_top_k=-1)
    fit(Model(), theirs, plugins=[writes.plugin()], max_steps=saves)
    fails("lightning", writes.most > saves // 2)


class Told(CSVLogger):
    """A logger that looks for the file of each checkpoint that it is notified of."""

    def __init__(self, folder):
        super().__init__(folder)
        self.there = []

    def after_save_checkpoint(self, checkpoint_callback):
        path = checkpoint_callback.last_model_path or checkpoint_callback.best_model_path
        self.there.append(os.path.exists(path))


class Steps(Callback):
    """A callback that delays the write of step 10 until step 11, and then waits for its end.

    Attributes:
        wait: Waits until the write has failed.
    """

    wait: Callable[[], object]

    def __init__(self):
        self.go = threading.Event()

    def fail(self, step):
        assert self.go.wait(30)
        raise OSError(5, "Input/output error")

    def on_train_batch_end(self, trainer, *_):
        self.step = trainer.global_step
        if self.step == 11:
            self.go.set()
            self.wait()


def test_l8_an_error_is_known_at_the_next_step_and_loggers_see_files(tmp_path):
    """Lightning 17915, 19414: an error is raised at the next save, or at the end; loggers are notified too early."""

    pause, ends, once = threading.Event(), {}, Policy(At(epochs=[1]), KeepAll())
    for on_error in ("raise", "warn"):
        steps = Steps()
        ours = Writes(steps.fail).of_ours(LightningCheckpoint(tmp_path / on_error, once, on_error=on_error))
        steps.wait = ours.wait
        try:
            fit(Model(), steps, ours, max_epochs=6)
        except CommitError:
            ends[on_error] = steps.step
    assert ends == {"raise": 11}
    first, *_ = Manifest.read(tmp_path / "warn").records.values()
    assert (first.step, first.status) == (10, Status.FAILED) and "Input/output error" in first.error

    slow = Writes(lambda step: pause.wait(0.1))
    told = Told(tmp_path / "logs")
    ours = slow.of_ours(
        LightningCheckpoint(tmp_path / "told", Policy(Every(epochs=1) | Improves(VAL), KeepBest(1, VAL)))
    )
    fit(Model(), ours, max_epochs=2, logger=told)
    assert len(told.there) >= 2 and all(told.there)

    steps = Steps()
    writes = Writes(steps.fail)
    steps.wait = writes.wait
    with pytest.raises(OSError, match="Input/output"):
        # Nothing after the first epoch is better, so no other save follows.
        once = ModelCheckpoint(tmp_path / "theirs", monitor="val_loss")
        fit(Rising(), steps, once, plugins=[writes.plugin()], max_epochs=6)
    told = Told(tmp_path / "logs")
    slow = Writes(lambda step: wait_for(lambda: told.there))
    fit(Model(), ModelCheckpoint(tmp_path / "late"), plugins=[slow.plugin()], max_epochs=2, logger=told)
    fails("lightning", steps.step == 60 and not all(told.there))
