"""Compressed checkpoints: a run resumes from one, and evaluates one, as from the native file."""

import pytest
import torch

import ckpt_callbacks
from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.errors import VerifyError
from ckpt_callbacks.formats.compressed.packing import Compression
from ckpt_callbacks.run.repacking import Repacking
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import digest, fit, loaders
from tests.support.command import ckpt

ALL = Policy(Every(epochs=1), KeepAll())


def compressed(dirpath, epoch):
    """Compress the checkpoint of an epoch, delete later ones, and return its path."""
    manifest = Manifest.read(dirpath)
    for record in manifest.live():
        if record.epoch > epoch:
            assert ckpt("rm", dirpath, str(record.id), "--force").exit_code == 0
        elif record.epoch == epoch:
            now = Repacking(manifest, record, Compression(-9)).carry_out()
    return now.path


def test_a_run_resumes_exactly_from_a_compressed_one(tmp_path):
    whole = fit(tmp_path / "whole", ALL, max_epochs=4)
    fit(tmp_path / "run", ALL, max_epochs=3)
    path = compressed(tmp_path / "run", 2)
    with ckpt_callbacks.open(path) as file:
        assert torch.load(file, weights_only=False)["epoch"] == 1
    resumed = fit(tmp_path / "run", ALL, max_epochs=4, resume=True)
    assert digest(*resumed[:2]) == digest(*whole[:2])
    assert resumed[1].ckpt_path == str(path)
    assert not any((tmp_path / "run" / ".run" / "staging").iterdir())


def test_the_trainer_evaluates_a_compressed_one(tmp_path):
    module, fitter, callback = fit(tmp_path, ALL, max_epochs=2)
    path, record = compressed(tmp_path, 2), callback.last()
    score = fitter.validate(module, loaders()[1], ckpt_path=str(path), verbose=False)[0]["val_loss"]
    assert score == pytest.approx(record.metrics["val_loss"])
    score = fitter.test(module, loaders()[1], ckpt_path="last", verbose=False)[0]["test_loss"]
    assert score == pytest.approx(record.metrics["val_loss"])


def test_a_damaged_one_is_named(tmp_path):
    module, fitter, _ = fit(tmp_path, ALL, max_epochs=1)
    path = compressed(tmp_path, 1)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerifyError, match=rf"{path}: is damaged: "):
        fitter.validate(module, loaders()[1], ckpt_path=str(path), verbose=False)
