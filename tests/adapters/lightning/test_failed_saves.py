"""Saves that fail."""

import errno

import pytest

from ckpt_callbacks.formats.torch.writer import TorchFile
from tests.adapters.lightning.task import fit


def test_a_failed_save_does_not_end_training(tmp_path, monkeypatch, caplog):
    real, calls = TorchFile.write, []

    def failing(content, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(content, path)

    monkeypatch.setattr(TorchFile, "write", failing)
    _, fitter, callback = fit(tmp_path, arguments={"background": False})
    assert fitter.global_step == 30
    assert [r.epoch for r in callback.records()] == [1, 2, 3] and callback.records()[1].step == 21
    assert "older checkpoints are untouched" in caplog.text
    assert not list((tmp_path / ".run" / "staging").iterdir())


def test_a_failed_save_can_raise(tmp_path, monkeypatch):
    def failing(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TorchFile, "write", failing)
    with pytest.raises(Exception, match="No space left on device"):
        fit(tmp_path, arguments={"on_error": "raise"})


def test_a_flaky_write_is_tried_again(tmp_path, monkeypatch):
    real, calls = TorchFile.write, []

    def flaky(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a hiccup")
        return real(*args, **kwargs)

    monkeypatch.setattr(TorchFile, "write", flaky)
    _, _, callback = fit(tmp_path)
    assert [r.step for r in callback.records()] == [10, 20, 30]
