"""Exports of checkpoints that were rounded, or of which parts were left out."""

import shutil

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ckpt_callbacks import Contents, ExportError, load_weights, open_run
from ckpt_callbacks.export import export
from ckpt_callbacks.formats.keras.format import ARCHIVE
from tests.cli.command_line import ckpt
from tests.export.models import Net


@pytest.fixture
def reduced(run_dir, tmp_path):
    """A copy of the run whose best checkpoint holds bf16 weights, without those of the first layer."""
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    assert ckpt("thin", copy, "best", "--force", "--dtype", "bf16", "--drop", "first")[0] == 0
    return copy


def test_what_was_left_out_is_taken_from_the_model_with_a_warning(reduced, tmp_path, caplog):
    weights = load_file(export(open_run(reduced).best(), tmp_path / "a.safetensors").path)
    assert {value.dtype for value in weights.values()} == {torch.bfloat16} and "first.weight" not in weights
    model = Net(width=5, tied=True).eval()
    export(open_run(reduced).best(), tmp_path / "a.pt2", model=model)
    assert [record.message.partition(": ")[2] for record in caplog.records if record.name == "ckpt_callbacks"] == [
        "lacks first, which a rule has left out; the export holds what the model itself has there"
    ]
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    hidden = torch.relu(model.first(inputs))
    expected = hidden @ weights["second.weight"].float().T + weights["second.bias"].float()
    found = torch.export.load(tmp_path / "a.pt2").module()(inputs)
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, model(inputs), atol=1e-3)  # the second layer is the checkpoint's


def test_a_class_fills_in_what_was_left_out_but_nothing_else(reduced, tmp_path, caplog):
    assert ckpt("export", reduced, "best", "--to", tmp_path / "a.pt2", "--model", "tests.export.models:Net")[0] == 0
    assert "lacks first, which a rule has left out" in caplog.text

    class More(Net):
        def __init__(self, width=5, tied=True):
            super().__init__(width, tied)
            self.more = torch.nn.Linear(1, 1)

    for given in (More, More()):
        with pytest.raises(
            ExportError, match=r"does not fit the model: it lacks more.bias, more.weight, which no rule"
        ):
            export(open_run(reduced).best(), tmp_path / "b.pt2", model=given)


class Renaming(Net):
    """A model that still loads the files of its first version."""

    def on_load_checkpoint(self, checkpoint):
        weights = checkpoint["state_dict"]
        for name in [name for name in weights if name.startswith("old.")]:
            weights[name.replace("old.", "first.")] = weights.pop(name)


def test_the_models_own_hook_is_called_as_by_lightning(tmp_path):
    model = Renaming()
    weights = {name.replace("first.", "old."): value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.6.0"}, tmp_path / "a.ckpt")
    for given in (Renaming, Renaming()):
        export(tmp_path / "a.ckpt", tmp_path / "a.pt2", model=given, force=True)
        inputs = torch.ones(2, 6)
        assert torch.export.load(tmp_path / "a.pt2").module()(inputs).equal(model.eval()(inputs))


def test_whole_numbers_are_exported_as_the_weights_that_they_stand_for(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    assert ckpt("thin", copy, "best", "--force", "--dtype", "int8")[0] == 0
    path = open_run(copy).best().path
    model = Net(width=5, tied=True).eval()
    model.load_state_dict(load_weights(path))
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for given in (Net, model):
        export(path, tmp_path / "a.pt2", model=given, force=True)
        assert torch.export.load(tmp_path / "a.pt2").module()(inputs).equal(model(inputs))


def build():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")])


def test_a_keras_file_without_a_part_needs_the_model_that_has_it(tmp_path, caplog):
    whole = build()
    whole.set_weights([value + 0.5 for value in whole.get_weights()])
    whole.save(tmp_path / "whole.keras")
    contents = Contents("weights", drop="body")
    ARCHIVE.thin(tmp_path / "whole.keras", tmp_path / "part.keras", {"contents": "weights", "reduced": {}}, contents)
    with pytest.raises(ExportError, match=r"part.keras: lacks body, which a rule has left out; expected --model"):
        export(tmp_path / "part.keras", tmp_path / "a.keras")
    model = build()
    export(tmp_path / "part.keras", tmp_path / "a.keras", model=model)
    assert "lacks body, which a rule has left out" in caplog.text
    expected = [*model.get_weights()[:2], *whole.get_weights()[2:]]
    found = keras.models.load_model(tmp_path / "a.keras").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
