"""Exports of checkpoints that were rounded, or of which parts were left out."""

import shutil

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ckpt_callbacks import Contents, Every, ExportError, KeepEvery, KeepLast, Policy, load_weights, open_run
from ckpt_callbacks.export import export
from ckpt_callbacks.formats.keras.format import ARCHIVE
from ckpt_callbacks.keras import KerasCheckpoint
from tests.cli.command_line import ckpt
from tests.export.models import Net, train


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


def test_a_name_that_nothing_has_is_named_once_and_never_as_left_out(run_dir, tmp_path, caplog):
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    _, out, err = ckpt("thin", copy, "best", "--force", "--drop", "frist")
    assert "'frist' (did you mean 'first'?)" in err and "reduced to weights, from" in out
    assert "holds only weights; expected" in ckpt("thin", copy, "best", "--force", "--drop", "frist")[2]
    for command in ("ls", "du", "show"):
        assert "without" not in ckpt(command, copy, *(("best",) if command == "show" else ()))[1]
    export(open_run(copy).best(), tmp_path / "a.pt2", model=Net)
    assert "lacks" not in caplog.text
    other = Net(width=5)
    other.more = torch.nn.Linear(1, 1)
    with pytest.raises(ExportError, match="does not fit the model"):
        export(open_run(copy).best(), tmp_path / "b.pt2", model=other)


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


class Adapted(Net):
    """An MLP whose first layer is frozen."""

    def __init__(self, width=5):
        super().__init__(width)
        self.first.requires_grad_(False)


TRAINED = Policy(Every(epochs=1), KeepLast(1) | KeepEvery(epochs=1, contents=Contents("weights", weights="trainable")))


@pytest.mark.parametrize("is_class", [False, True])
def test_the_frozen_parameters_are_taken_from_the_model(tmp_path, caplog, is_class):
    first, _ = open_run(train(tmp_path / "run", Adapted(), 2, policy=TRAINED)).records()
    model, state = Adapted().eval(), load_weights(first.path)
    assert state.keys() == {"second.weight", "second.bias"}
    done = export(first, tmp_path / "a.pt2", model=Adapted if is_class else model)
    assert done.relative < 1e-4
    assert "lacks the frozen parameters, which a rule has left out; the export holds" in caplog.text
    if not is_class:
        model.load_state_dict(state, strict=False)
        inputs = torch.randn(4, 6)
        assert torch.allclose(torch.export.load(tmp_path / "a.pt2").module()(inputs), model(inputs), atol=1e-6)
    adapted = Adapted()
    adapted.more = torch.nn.Linear(1, 1)
    with pytest.raises(ExportError, match=r"it lacks more.bias, more.weight, which no rule has left out"):
        export(first, tmp_path / "b.pt2", model=adapted)


@pytest.mark.parametrize("format", ["keras", "h5", "weights.h5"])
def test_the_frozen_layers_of_keras_are_taken_from_the_model(tmp_path, caplog, format):
    trained = build()
    trained.get_layer("body").trainable = False
    trained.compile("sgd", "mse", run_eagerly=True)
    contents = "weights" if format == "weights.h5" else None
    ours = KerasCheckpoint(tmp_path / "run", TRAINED, format=format.split(".")[-1], contents=contents)
    numbers = np.ones((2, 4), "float32")
    trained.fit(numbers, numbers[:, :2], epochs=2, verbose=0, callbacks=[ours])
    first = ours.records()[0]
    assert first.path.name.endswith(f".{format}") and first.reduced["dropped"]["tensors"] == 2
    model = build()
    model.set_weights([value + 1 for value in model.get_weights()])
    export(first, tmp_path / "a.keras", model=model)
    assert "lacks the frozen parameters, which a rule has left out" in caplog.text
    found = keras.models.load_model(tmp_path / "a.keras").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(found[:2], model.get_weights()[:2], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(found[2:], model.get_weights()[2:], strict=True))
    if format == "keras":
        with pytest.raises(ExportError, match="lacks the frozen parameters, which a rule has left out; expected --m"):
            export(first, tmp_path / "b.keras")
