"""The drop-ins for Lightning's callbacks, as scripts, loggers and Lightning itself see them."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from lightning.pytorch import callbacks as originals
from lightning.pytorch.loggers import Logger

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import Model, loaders, trainer
from tests.cli.command_line import ckpt
from tests.drop_ins.lightning_runs import Plateau, files, fit, fit_until


@pytest.mark.slow
def test_only_who_asks_for_a_drop_in_imports_it():
    code = (
        "import sys; from ckpt_callbacks.lightning import LightningCheckpoint; "
        "assert 'ckpt_callbacks.lightning.drop_ins' not in sys.modules; "
        "from ckpt_callbacks.lightning import ModelCheckpoint, EarlyStopping"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_is_created_before_the_first_save(tmp_path):
    fit_until(5, ModelCheckpoint(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_several_share_a_directory_and_its_journal(tmp_path):
    best = ModelCheckpoint(tmp_path, filename="best", monitor="val_loss", save_last=True)
    newest = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=5, save_top_k=-1)
    fit(best, newest)
    steps = sorted(f"step={n}.ckpt" for n in range(5, 31, 5))
    assert files(tmp_path) == ["best.ckpt", "last.ckpt", *steps]
    assert {record.file for record in Manifest.read(tmp_path).live()} == {*files(tmp_path)}


def test_each_may_have_a_directory_of_its_own(tmp_path):
    fit(ModelCheckpoint(tmp_path / "a"), ModelCheckpoint(tmp_path / "b", every_n_train_steps=4))
    assert [files(tmp_path / name) for name in "ab"] == [["epoch=2-step=30.ckpt"], ["epoch=2-step=28.ckpt"]]


def test_best_and_last_are_found_by_the_trainer(tmp_path):
    fitter = fit(callback := ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True))
    for path in ("best", "last"):
        fitter.test(Plateau(), loaders()[1], ckpt_path=path, verbose=False)
        assert fitter.ckpt_path == (callback.best_model_path if path == "best" else callback.last_model_path)
    assert fitter.checkpoint_callback is callback


def test_a_damaged_last_checkpoint_is_passed_over(tmp_path, caplog):
    fit(ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=4, save_top_k=-1), model=Model)
    (tmp_path / "last.ckpt").unlink()
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    resumed = fit(ModelCheckpoint(tmp_path, save_last=True), model=Model, ckpt_path="last", max_epochs=4)
    assert resumed.ckpt_path == str(tmp_path / "epoch=2-step=28.ckpt")


class Log(Logger):
    """A logger that notes which of the named files exist when it is told of a checkpoint."""

    name, version, save_dir = "log", "0", None

    def __init__(self):
        super().__init__()
        self.seen = []

    def log_metrics(self, *_, **__):
        """Log nothing."""

    log_hyperparams = log_metrics

    def after_save_checkpoint(self, callback):
        paths = [callback.best_model_path, callback.last_model_path]
        self.seen.append([path for path in paths if path and torch.load(path, weights_only=False)])


def test_loggers_are_told_of_durable_files(tmp_path):
    log = Log()
    fit(ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True, background=False), logger=log)
    assert len(log.seen) >= 6 and all(len(paths) == 2 for paths in log.seen[1:])


class Scan(Log):
    """A logger that notes each file when it first finds it in the attributes of a callback, as W&B and MLflow do."""

    def after_save_checkpoint(self, callback):
        named = {callback.last_model_path: callback.current_score, callback.best_model_path: callback.best_model_score}
        for path, score in {**named, **callback.best_k_models}.items():
            known = [one for one, *_ in self.seen]
            if os.path.isfile(path) and os.path.basename(path) not in known:
                step, is_best = torch.load(path, weights_only=False)["global_step"], path == callback.best_model_path
                self.seen.append((os.path.basename(path), step, None if score is None else float(score), is_best))


@pytest.mark.parametrize(
    "saves",
    [
        {"every_n_train_steps": 1, "save_top_k": -1},
        {"every_n_train_steps": 1, "save_top_k": 1},
        {"every_n_train_steps": 2, "save_top_k": 2, "monitor": "train_loss_step"},
        {"save_top_k": 2, "monitor": "val_loss", "save_last": True},
        {"save_top_k": -1, "monitor": "val_loss"},
    ],
    ids=str,
)
def test_loggers_find_each_file_as_with_the_original(tmp_path, saves):
    theirs, ours = Scan(), Scan()
    for name, log, cls in (("theirs", theirs, originals.ModelCheckpoint), ("ours", ours, ModelCheckpoint)):
        fit(cls(tmp_path / name, **saves), logger=log)
    assert sorted(ours.seen) == sorted(theirs.seen) != []


def test_copies_hold_no_run(tmp_path):
    fit(callback := ModelCheckpoint(tmp_path, monitor="val_loss"))
    for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert copied.best_model_path == callback.best_model_path
        assert copied.state_dict().keys() == callback.state_dict().keys()


def test_the_path_of_a_file_is_given_once_it_exists(tmp_path):
    class Look(originals.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if path := trainer.checkpoint_callback.best_model_path:
                torch.load(path, weights_only=False)

    fit(Look(), ModelCheckpoint(tmp_path, every_n_train_steps=1))


def test_a_failed_save_ends_no_training_and_leaves_no_name(tmp_path, monkeypatch):
    from ckpt_callbacks.run import checkpoint_writer

    write, failing = checkpoint_writer.CheckpointWriter.write, []

    def fail(self, job):
        if job.draft.step == 20:
            failing.append(job.draft.file)
            raise OSError(28, "No space left on device")
        return write(self, job)

    monkeypatch.setattr(checkpoint_writer.CheckpointWriter, "write", fail)
    fitter = fit(callback := ModelCheckpoint(tmp_path, monitor="val_loss", save_top_k=3, save_last=True))
    assert failing and fitter.global_step == 30
    assert {*callback.best_k_models} == {str(tmp_path / name) for name in files(tmp_path) if name != "last.ckpt"}
    assert len(callback.best_k_models) == 2


def test_a_subclass_that_saves_in_its_own_way_is_left_alone(tmp_path):
    class Weights(ModelCheckpoint):
        def _save_checkpoint(self, trainer, filepath):
            super()._save_checkpoint(trainer, filepath)
            found = torch.load(filepath, weights_only=False)
            torch.save(found["state_dict"], f"{filepath}.weights")

    fit(Weights(tmp_path))
    assert "epoch=2-step=30.ckpt.weights" in files(tmp_path)


def test_early_stopping_keeps_to_the_patience_of_the_code(tmp_path):
    saving = {"dirpath": tmp_path, "save_last": True}
    fit(EarlyStopping("val_loss", mode="max", patience=2), ModelCheckpoint(**saving), max_epochs=9)
    stopped = fit(EarlyStopping("val_loss", mode="max", patience=2), ModelCheckpoint(**saving), ckpt_path="last",
                  max_epochs=9)  # fmt: skip
    assert stopped.global_step <= 40
    longer = fit(EarlyStopping("val_loss", mode="max", patience=4), ModelCheckpoint(**saving), ckpt_path="last",
                 max_epochs=9)  # fmt: skip
    assert longer.global_step > stopped.global_step


def test_the_doctor_asks_for_no_links_beside_the_files(tmp_path):
    fit(ModelCheckpoint(tmp_path, save_last=True), max_epochs=1)
    assert ckpt("doctor", tmp_path, "--dry-run")[:2] == (0, f"{tmp_path}: nothing is wrong\n")


def test_fast_dev_run_saves_nothing(tmp_path):
    trainer(ModelCheckpoint(tmp_path / "a"), fast_dev_run=True).fit(Model(), *loaders())
    assert not (tmp_path / "a").exists()
