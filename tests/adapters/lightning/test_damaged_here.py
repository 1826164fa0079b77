"""Checkpoints that are damaged in the run directory, while a mirror holds them whole, or does not."""

import pytest
import torch

from ckpt_callbacks import Every, KeepAll, Policy, Status
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.task import Model, fit, loaders, trainer, weights

POLICY = Policy(Every(epochs=1), KeepAll())  # without a metric, nothing is read before a resume


def damage(*paths):
    for path in paths:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def train(dirpath, mirror, epochs, resume="never"):
    process_fits._fits.clear()  # as in a new process
    callback = LightningCheckpoint(dirpath, POLICY, mirrors=mirror, resume=resume)
    torch.manual_seed(0)
    model = Model()
    path = callback.resume_path() if resume == "never" else None
    trainer(callback, max_epochs=epochs).fit(model, *loaders(), ckpt_path=path)
    return model, callback


@pytest.fixture
def whole(tmp_path):
    """The weights of four epochs."""
    torch.manual_seed(0)
    return weights(train(tmp_path / "whole", tmp_path / "its mirror", 4)[0])


@pytest.mark.parametrize("resume", ["never", "auto"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_checkpoint_that_is_damaged_here_comes_from_the_mirror(tmp_path, caplog, whole, count, resume):
    _, callback = train(tmp_path / "run", tmp_path / "mirror", 3)
    newest = callback.last()
    damage(*(record.path for record in callback.records()[-count:]))
    model, again = train(tmp_path / "run", tmp_path / "mirror", 4, resume)
    assert f"restored from {tmp_path}/mirror (step {newest.step})" in caplog.text
    assert "cannot create" not in caplog.text and "from scratch" not in caplog.text
    assert torch.equal(weights(model), whole)
    assert newest.path.exists(), "what is damaged is left to people"
    assert [record.id for record in again.records()][-2:] == [newest.id, newest.id + 1]
    assert not any(record.superseded for record in again.records())


def test_one_that_is_damaged_in_both_places_makes_way_for_the_older_one_here(tmp_path, caplog):
    _, callback = train(tmp_path / "run", tmp_path / "mirror", 3)
    (there,) = (tmp_path / "mirror").glob(f"checkpoints/*/{callback.last().file}".replace("=", "*"))
    older = callback.records()[-2].file
    damage(callback.last().path, there)
    _, again = train(tmp_path / "run", tmp_path / "mirror", 4)
    assert f"its newer checkpoints are damaged or gone; training continues from {older}" in caplog.text
    assert [record.epoch for record in again.records()] == [1, 2, 3, 4]


@pytest.mark.parametrize("resume", ["never", "auto"])
def test_a_run_that_begins_anew_because_all_are_damaged_says_so(tmp_path, caplog, resume):
    _, callback = train(tmp_path / "run", None, 2)
    old = callback.records()
    damage(*(record.path for record in old))
    _, again = train(tmp_path / "run", None, 3, resume)
    line = "no checkpoint that a run can be resumed from is intact, so training starts from scratch; damaged, and left"
    assert caplog.text.count(line) == 1
    assert [record.epoch for record in again.records()] == [1, 2, 3]
    known = again._run.view.manifest.records
    assert [known[record.id].status for record in old] == [Status.FAILED] * 2


def test_a_run_that_is_asked_to_begin_anew_says_nothing(tmp_path, caplog):
    fit(tmp_path, POLICY, max_epochs=1)
    caplog.clear()
    trainer(LightningCheckpoint(tmp_path, POLICY), max_epochs=1).fit(Model(), *loaders())
    assert "intact" not in caplog.text
