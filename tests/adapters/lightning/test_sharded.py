"""The best weights in shards: plain libraries read them, the trainer evaluates them, a run goes on beside them."""

import json

import lightning
import pytest
import torch
from safetensors.torch import load_file

import ckpt_callbacks
from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Policy, ResumeError, load_weights
from tests.adapters.lightning.task import VAL, Model, digest, fit, loaders, trainer
from tests.support.command import ckpt

MOST = 200  # bytes of a shard, besides which each tensor of the module needs one of its own
SPLIT = Contents("weights", shards={"max_size": MOST})
RULES = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents=SPLIT))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A directory of four epochs, and the record of its best checkpoint that no run would resume from."""
    dirpath = tmp_path_factory.mktemp("sharded")
    callback = fit(dirpath, RULES, max_epochs=4)[2]
    return dirpath, next(record for record in callback.records() if record.file.endswith(".ckpt.shards"))


def test_any_reader_of_safetensors_reads_them(run):
    index = json.loads((run[1].path / "model.safetensors.index.json").read_text())
    state = {}
    for shard in {*index["weight_map"].values()}:
        state |= load_file(run[1].path / shard)
    module = Model()
    module.load_state_dict(state)
    assert len({*index["weight_map"].values()}) > 1
    found = trainer().validate(module, loaders()[1], verbose=False)[0]
    assert found["val_loss"] == pytest.approx(run[1].metrics["val_loss"], rel=1e-5)


def test_this_package_reads_them_as_any_checkpoint(run):
    path, module = run[1].path, Model()
    module.load_state_dict(load_weights(path))
    expected = {name: value.clone() for name, value in module.state_dict().items()}
    found = trainer().validate(Model(), loaders()[1], ckpt_path=path, verbose=False)[0]
    assert found["val_loss"] == pytest.approx(run[1].metrics["val_loss"], rel=1e-5)
    loaded = Model.load_from_checkpoint(ckpt_callbacks.open(path))
    assert all(value.equal(expected[name]) for name, value in loaded.state_dict().items())
    with ckpt_callbacks.native_path(path) as native:
        held = torch.load(native, weights_only=True)
    assert held["hyper_parameters"] == {"width": 8} and "optimizer_states" not in held


def test_a_run_goes_on_beside_them(run, tmp_path):
    whole = fit(tmp_path / "whole", RULES, max_epochs=5)
    fit(tmp_path / "run", RULES, max_epochs=3)
    resumed = fit(tmp_path / "run", RULES, max_epochs=5, resume=True)
    assert digest(*resumed[:2]) == digest(*whole[:2])
    with pytest.raises(ResumeError, match=f"{run[1].file}: holds only weights, shards of 200 B, so a run cannot be"):
        lightning.seed_everything(7, verbose=False)
        trainer(ckpt_callbacks.lightning.LightningCheckpoint(run[0], RULES)).fit(
            Model(), *loaders(), ckpt_path=str(run[1].path)
        )


def test_commands_read_them(run, tmp_path):
    dirpath, record = run
    plain, flat = tmp_path / "plain.ckpt", tmp_path / "all.safetensors"
    assert ckpt("export", record.path, "--plain", "--to", plain).exit_code == 0
    assert ckpt("export", dirpath, str(record.id), "--to", flat).exit_code == 0
    expected = torch.load(plain, weights_only=True)["state_dict"]
    assert all(value.equal(expected[name]) for name, value in load_file(flat).items())
    done = ckpt("diff", plain, record.path)
    assert done.exit_code == 0 and "4 weights: 4 unchanged" in done.stdout
    assert ckpt("diff", dirpath, str(record.id), "last").exit_code == ckpt("verify", dirpath).exit_code == 0
