"""The run directory of a callback without ``dirpath``: where ModelCheckpoint would save."""

import os

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer


def train(callback, **settings):
    fitter = trainer(callback, max_epochs=1, **settings)
    fitter.fit(Model(), *loaders())
    return callback


@pytest.mark.parametrize("settings", [{}, {"version": "mine"}, {"name": ""}, None])
def test_it_is_the_directory_of_model_checkpoint(tmp_path, settings):
    def where(root, callback):
        logger = False if settings is None else CSVLogger(root / "logs", **settings)
        return os.path.relpath(train(callback, logger=logger, default_root_dir=root).dirpath, root)

    callback = LightningCheckpoint(policy=EACH_EPOCH)
    found = where(tmp_path / "ours", callback)
    assert found == where(tmp_path / "theirs", ModelCheckpoint())
    assert [record.step for record in callback.records()] == [10] and callback.best_model_path


def test_a_callback_without_a_directory_resumes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the logger makes its folders
    callback = LightningCheckpoint(monitor="val_loss")
    with pytest.raises(PolicyError, match=r"has no directory before fit.*expected dirpath"):
        callback.resume_path()
    assert callback.best_model_path == ""
    with pytest.raises(PolicyError, match="resume is 'auto', and dirpath is missing; expected the run directory"):
        LightningCheckpoint(policy=EACH_EPOCH, resume="auto")
    with pytest.raises(PolicyError, match="the logger's directory is 's3://bucket/logs/version_0', a URL"):
        train(callback, logger=_Remote())


def test_a_null_directory_leaves_it_to_the_file(tmp_path):
    path = tmp_path / "ckpt.yaml"
    path.write_text(f"dirpath: {tmp_path / 'run'}\nsave: [{{every: {{epochs: 1}}}}]\nkeep: all\n")
    for callback in (LightningCheckpoint(None, path), LightningCheckpoint(policy=path)):
        assert callback.dirpath == str(tmp_path / "run")


class _Remote(CSVLogger):
    def __init__(self):
        super().__init__("", name="logs", version=0)

    @property
    def save_dir(self):
        return "s3://bucket"

    @property
    def log_dir(self):
        return "logs"
