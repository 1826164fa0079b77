"""Failures of Lightning's own callbacks with files, none of which this package has (docs/peer-failures.md)."""

import os
import pickle
import signal

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, OnExceptionCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, OnException, Policy, Status, errors
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import EACH_EPOCH, VAL, Model, fit, loaders, trainer
from tests.system.competitors.competitor import fails, faulty
from tests.system.competitors.lightning_runs import (
    Crash,
    CrashInTest,
    Rising,
    Watch,
    WithPath,
    fit_theirs,
    fit_theirs_and_crash,
)


def step_in(path):
    return torch.load(path, weights_only=True)["global_step"]


def loads(path):
    try:
        return bool(torch.load(path, weights_only=True))
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
        return False


@pytest.mark.slow
def test_l1_a_kill_with_tmpdir_on_another_file_system_loses_nothing(tmp_path, other_disk):
    """Lightning 19970, 688: ModelCheckpoint writes to ``$TMPDIR`` and copies from there over the previous file.

    A kill during the copy leaves only an empty file, and an orphan in ``$TMPDIR``. Nothing is ever flushed to the
    device.
    """

    found = faulty("lightning_faults.py", "kills", tmp_path, other_disk)
    calls = [tuple(call) for call in found["calls"]]
    staged = next(file for name, file in calls if name == "fsync" and file.endswith("-2.ckpt"))
    order = [("fsync", staged), ("rename", staged), ("fsync", "traced")]
    assert sorted(order, key=calls.index) == order, "forced to the device before it gets its name, and that then too"
    assert len(found["codes"]) > 8
    torn = [path.stat().st_size for path in (tmp_path / "torn" / ".run" / "staging").iterdir()]
    assert torn == [0], "killed where it asks for the file's room on the disk"
    for name, code in found["codes"].items():
        assert code == -(signal.SIGXFSZ if name == "torn" else signal.SIGKILL), name
        live = Manifest.read(tmp_path / name).live()
        assert live, name
        for record in live:
            verify(record)
        step = step_in(LightningCheckpoint(tmp_path / name, EACH_EPOCH).resume_path())
        assert step in (10, 20) and step >= live[-1].step, name
        assert loads(tmp_path / name / "last.ckpt"), name
    assert found["left in $TMPDIR"] == []

    left = [path.stat().st_size for path in (tmp_path / "theirs").iterdir()]
    fails("lightning", found["theirs"] == -signal.SIGKILL and left == [0] and list(other_disk.iterdir()))


def test_l3_a_full_disk_ends_no_training_and_the_best_path_loads(tmp_path, small_disk, other_disk, monkeypatch):
    """ModelCheckpoint raises on a full disk, and its ``best_model_path`` names a truncated file."""
    epochs = 30
    monkeypatch.setenv("TMPDIR", str(other_disk))
    monkeypatch.setattr("tempfile.tempdir", None)
    policy = Policy(Every(epochs=1) | Improves(VAL), KeepAll(), best_by=VAL)
    _, fitter, callback = fit(small_disk / "ours", policy, max_epochs=epochs)
    assert fitter.current_epoch == epochs
    assert loads(callback.best_model_path) and loads(callback.resume_path())
    records = Manifest.read(small_disk / "ours").records.values()
    failed = [record for record in records if record.status is Status.FAILED]
    assert failed and all(record.error for record in failed)
    for record in callback.records():
        verify(record)

    theirs = ModelCheckpoint(small_disk / "theirs", monitor="val_loss", save_top_k=-1)
    for path in (small_disk / "ours").glob("Model*.ckpt"):
        path.unlink()
    try:
        fit_theirs(theirs, max_epochs=epochs)
        raised = False
    except (OSError, RuntimeError):
        raised = True
    fails("lightning", raised and not loads(theirs.best_model_path))


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    """Return a run of 3 epochs of 10 steps with two callbacks of each library, in which ``val_loss`` only rises."""
    folder = tmp_path_factory.mktemp("side_by_side")
    ours = [
        LightningCheckpoint(folder / "epochs", Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL))),
        LightningCheckpoint(folder / "steps", Policy(Every(steps=4) | Improves(VAL), KeepAll() | KeepBest(1, by=VAL))),
    ]
    theirs = [
        ModelCheckpoint(folder / "theirs", monitor="val_loss", save_last=True),
        ModelCheckpoint(folder / "their-steps", monitor="val_loss", every_n_train_steps=4, save_top_k=-1),
    ]
    fit_theirs(*ours, *theirs, module=Rising())
    return ours, theirs


def test_l9_last_is_the_last_one_also_with_a_monitor(side_by_side):
    """ModelCheckpoint with ``save_last=True`` and a monitor writes ``last.ckpt`` only with a new best."""
    (ours, _), (theirs, _) = side_by_side
    assert step_in(os.path.join(ours.dirpath, "last.ckpt")) == step_in(ours.last_model_path) == 30
    assert step_in(os.path.join(ours.dirpath, "best.ckpt")) == step_in(ours.best_model_path) == 10
    fails("lightning", step_in(theirs.last_model_path) == 10)


def test_l15_a_step_save_is_not_ranked_by_the_validation_before_it(side_by_side):
    """Lightning 20185, 14431: ModelCheckpoint ranks the weights of step 24 by what was measured at step 20."""
    (_, ours), (_, theirs) = side_by_side
    ranked = {record.step for record in ours.records() if VAL.score(record) is not None}
    assert {record.step for record in ours.records()} >= {4, 8, 12, 16, 24, 28}
    assert ranked and ranked <= {10, 20, 30}, "validation ran after these steps"
    assert set(ours.best_k_models) == {str(r.path) for r in ours.records() if r.step in ranked}
    fails("lightning", 24 in map(step_in, theirs.best_k_models))


def test_l18_an_exception_neither_overwrites_the_best_nor_saves_in_test(tmp_path):
    """ModelCheckpoint with ``save_on_exception`` writes the crashed state over the best file.

    OnExceptionCheckpoint also saves if `test` raises.
    """
    policy = Policy(Improves(VAL) | OnException(), KeepBest(1, by=VAL) | KeepAll())
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "ours", policy, extra=[Crash(13)], arguments={"filename": "best"})
    ours = LightningCheckpoint(tmp_path / "ours", policy)
    assert [(r.step, r.exceptional) for r in ours.records()] == [(10, False), (13, True)]
    assert step_in(ours.best().path) == ours.best().step == 10
    verify(ours.best())
    tester = trainer(ours, CrashInTest())
    with pytest.raises(ZeroDivisionError):
        tester.test(Model(), loaders()[1], verbose=False)
    assert [r.step for r in ours.records()] == [10, 13], "nothing is saved in `test`"

    theirs = ModelCheckpoint(tmp_path / "theirs", monitor="val_loss", filename="best", save_on_exception=True)
    fit_theirs_and_crash(13, theirs)
    fails("lightning", step_in(theirs.best_model_path) == 13)
    on_exception = OnExceptionCheckpoint(tmp_path / "theirs")
    with pytest.raises(ZeroDivisionError):
        trainer(on_exception, CrashInTest()).test(Model(), loaders()[1], verbose=False)
    fails("lightning", os.path.exists(on_exception.ckpt_path))


def test_l19_a_truncated_last_one_is_passed_over_and_nothing_starts_from_scratch_silently(tmp_path, caplog):
    """Lightning 14466: with ``ckpt_path="last"`` a truncated ``last.ckpt`` raises, although others are good.

    If the logger numbers the directories, training starts from scratch.
    """
    _, _, ours = fit(tmp_path / "ours")
    last = ours.last()
    os.truncate(last.path, last.size // 2)
    watch = Watch()
    _, fitter, _ = fit(tmp_path / "ours", resume=True, extra=[watch])
    assert f"{last.path}: has {last.size // 2} bytes; the manifest says {last.size}" in caplog.text
    assert (watch.positions[0], fitter.global_step) == ((2, 0), 30), "from the one before, and not from scratch"
    again, watch = LightningCheckpoint(tmp_path / "ours", EACH_EPOCH), Watch()
    os.truncate(again.last().path, 100)
    fit_theirs(again, watch, ckpt_path="last")
    assert watch.positions[0] == (2, 0), "the same with the word"

    theirs = ModelCheckpoint(tmp_path / "theirs", save_last=True, save_top_k=-1)
    fit_theirs(theirs, max_epochs=2)
    os.truncate(theirs.last_model_path, os.path.getsize(theirs.last_model_path) // 2)
    try:
        fit_theirs(ModelCheckpoint(tmp_path / "theirs", save_last=True, save_top_k=-1), ckpt_path="last")
        raised = False
    except Exception:
        raised = True
    fails("lightning", raised)
    watch = Watch()
    for callbacks in ([], [watch]):
        fit_theirs(
            ModelCheckpoint(save_last=True), *callbacks, ckpt_path="last", logger=CSVLogger(tmp_path), max_epochs=1
        )
    fails("lightning", len(watch.batches) == 10)


def test_l20_two_callbacks_on_one_monitor_work_together(tmp_path, side_by_side):
    """Two ModelCheckpoints that differ only in their directory: RuntimeError, because they share a ``state_key``."""
    ours, _ = side_by_side
    assert ours[0].monitor == ours[1].monitor == "val_loss" and ours[0].state_key != ours[1].state_key
    states = torch.load(ours[0].last_model_path, weights_only=True)["callbacks"]
    assert {callback.state_key for callback in ours} <= states.keys(), "a resume finds the state of each"
    try:
        fit_theirs(*(ModelCheckpoint(tmp_path / name, monitor="val_loss") for name in "ab"), max_epochs=1)
        raised = False
    except RuntimeError as error:
        raised = "state_key" in str(error)
    fails("lightning", raised)


def test_l23_a_path_among_the_hyperparameters_does_not_keep_a_run_from_resuming(tmp_path):
    """Lightning 21072: the checkpoint is written, but cannot be read: UnpicklingError."""
    ours, theirs = LightningCheckpoint(tmp_path / "ours", EACH_EPOCH), ModelCheckpoint(tmp_path / "theirs")
    fit_theirs(ours, theirs, module=WithPath(tmp_path), max_epochs=1)
    _, fitter = fit_theirs(module=WithPath(tmp_path), ckpt_path=ours.resume_path(), max_epochs=2)
    assert fitter.global_step == 20
    assert torch.load(ours.resume_path(), weights_only=True)["hyper_parameters"]["root"] == str(tmp_path)
    try:
        fit_theirs(module=WithPath(tmp_path), ckpt_path=theirs.best_model_path, max_epochs=2)
        raised = False
    except pickle.UnpicklingError:
        raised = True
    fails("lightning", raised)


def test_l29_a_misspelt_metric_costs_no_epoch(tmp_path):
    """ModelCheckpoint raises after the first epoch, before it has saved anything."""
    ours = Policy(Every(epochs=1) | Improves(Metric("val_los", mode="min")), KeepAll())
    with pytest.raises(errors.MetricError, match="did you mean"):
        fit(tmp_path / "ours", ours, num_sanity_val_steps=0)
    assert step_in(LightningCheckpoint(tmp_path / "ours", EACH_EPOCH).resume_path()) == 10

    theirs = ModelCheckpoint(tmp_path / "theirs", monitor="val_los")
    with pytest.raises(MisconfigurationException):
        fit_theirs(theirs, num_sanity_val_steps=0)
    fails("lightning", not list((tmp_path / "theirs").glob("*.ckpt")))


class Replaces(Callback):
    """Another program, which puts a file of its own in the place of the first checkpoint."""

    def __init__(self, dirpath):
        self.dirpath = dirpath

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            checkpoint, *others = [path for path in self.dirpath.glob("[!.]*.ckpt") if not path.is_symlink()]
            assert not others
            checkpoint.unlink()
            checkpoint.write_text("theirs")


def foreign(dirpath):
    return [path for path in dirpath.rglob("*") if path.is_file() and path.read_bytes() == b"theirs"]


def test_l30_a_file_of_somebody_else_is_not_deleted(tmp_path):
    """ModelCheckpoint deletes whatever has the name of a checkpoint that it no longer keeps."""
    fit(
        tmp_path / "ours",
        Policy(Every(epochs=1), KeepLast(1)),
        extra=[Replaces(tmp_path / "ours")],
        arguments={"background": False},
    )
    assert foreign(tmp_path / "ours")

    theirs = ModelCheckpoint(tmp_path / "theirs")
    fit_theirs(theirs, Replaces(tmp_path / "theirs"))
    fails("lightning", not foreign(tmp_path / "theirs"))
