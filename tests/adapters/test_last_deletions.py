"""A start of a script after a kill that came between the last save and the deletions that follow it."""

import dataclasses
import sys

import pytest

from ckpt_callbacks import Every, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import pruning
from ckpt_callbacks.run.committer import Committer
from ckpt_callbacks.run.saver import Saver
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras import task as keras_task
from tests.adapters.lightning import task as lightning_task

VAL = Metric("val_loss", mode="min")
POLICY = Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL), best_by=VAL)


def with_lightning(dirpath, epochs):
    return lightning_task.fit(dirpath, POLICY, max_epochs=epochs, resume=True)[-1]


def with_keras(dirpath, epochs):
    callback = keras_task.checkpoint(dirpath, POLICY)
    keras_task.fit(keras_task.quick(), callback, epochs=epochs)
    return callback


def kept(dirpath):
    """Return how many checkpoints are in a directory."""
    return sum(not path.is_symlink() for path in [*dirpath.glob("*.ckpt"), *dirpath.glob("*.keras")])


@pytest.mark.parametrize("train", [with_lightning, with_keras])
def test_a_start_with_nothing_left_to_train_deletes_what_no_rule_keeps(tmp_path, monkeypatch, train):
    whole = train(tmp_path / "whole", 4)
    with monkeypatch.context() as killed:
        killed.setattr(pruning, "prune", lambda *_: [])
        assert len(train(tmp_path / "run", 4).records()) == 4
    callback = train(tmp_path / "run", 4)
    assert [record.step for record in callback.records()] == [record.step for record in whole.records()]
    assert callback.final().step == whole.final().step


@pytest.mark.parametrize("train", [with_lightning, with_keras])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_start_that_trains_on_deletes_it_before_its_first_save(tmp_path, monkeypatch, train, is_known):
    with monkeypatch.context() as killed:
        killed.setattr(pruning, "prune", lambda *_: [])
        train(tmp_path, 4)
    if not is_known:
        monkeypatch.setattr(sys.modules[__name__], "POLICY", dataclasses.replace(POLICY, keep=KeepLast(2)))
    found, save = [], Saver.save
    monkeypatch.setattr(Saver, "save", lambda *given: found.append(kept(tmp_path)) or save(*given))
    train(tmp_path, 5)
    assert found[0] == (1 if is_known else 4)


def test_a_start_from_an_earlier_checkpoint_with_nothing_left_deletes_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(pruning, "prune", lambda *_: [])
        records = with_lightning(tmp_path, 4).records()
    callback = LightningCheckpoint(tmp_path, POLICY)
    fitter = lightning_task.trainer(callback, max_epochs=2)
    fitter.fit(lightning_task.Model(), *lightning_task.loaders(), ckpt_path=str(records[1].path))
    assert fitter.global_step == 20 and callback.records() == records


def test_the_next_start_marks_what_the_last_save_has_rolled_back(tmp_path, monkeypatch):
    records = lightning_task.fit(tmp_path, max_epochs=3)[-1].records()
    callback = LightningCheckpoint(tmp_path, lightning_task.EACH_EPOCH)
    with monkeypatch.context() as killed:
        killed.setattr(Committer, "_prune", lambda *_: None)
        fitter = lightning_task.trainer(callback, max_epochs=2)
        fitter.fit(lightning_task.Model(), *lightning_task.loaders(), ckpt_path=str(records[0].path))
    callback = lightning_task.fit(tmp_path, resume=True, max_epochs=2)[-1]
    assert (tmp_path / "best.ckpt").resolve() == callback.best().path
    manifest = Manifest(tmp_path)
    manifest.refresh()
    assert [record.superseded for record in manifest.live()] == [False, True, True, False]
