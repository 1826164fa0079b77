"""Torch models as ONNX, torch.export and TorchScript files."""

import json

import numpy as np
import pytest
import torch

from ckpt_callbacks import ExportError, open_run
from ckpt_callbacks.export import export, onnx_file
from tests.cli.command_line import ckpt
from tests.export.alone import distance, outputs_of
from tests.export.models import Cnn, Net, train
from tests.export.plain import WEIGHT, WORDS, Two, arrays, left, save_two, saved

SUFFIXES = [".onnx", ".pt2", ".torchscript"]


@pytest.fixture
def two(tmp_path):
    return save_two(tmp_path)


@pytest.fixture(scope="module")
def cnn_dir(tmp_path_factory):
    return train(tmp_path_factory.mktemp("cnn") / "run", Cnn(width=3))


@pytest.mark.export
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["Net", "Cnn"])
def test_the_runtime_alone_computes_what_the_checkpoint_does(name, suffix, run_dir, cnn_dir, tmp_path):
    source, kind = {"Net": (run_dir, Net), "Cnn": (cnn_dir, Cnn)}[name]
    target = tmp_path / f"model{suffix}"
    code, out, err = ckpt("export", source, "best", "--to", target, "--model", f"tests.export.models:{name}", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["compared"] == "outputs" and facts["any_batch"] and facts["relative"] <= facts["tolerance"] == 1e-4
    assert left(tmp_path) == [target.name]
    module = kind.load_from_checkpoint(open_run(source).best().path).eval()
    for batch in (1, 7):
        inputs = torch.randn(batch, 6, generator=torch.Generator().manual_seed(batch))
        expected = [module(inputs).detach().numpy()]
        assert (
            distance(expected, outputs_of(target, {"features": inputs.numpy()}, "pytorch_lightning"))
            <= facts["tolerance"]
        )


@pytest.mark.export
@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("name", ["Net", "Cnn"])
def test_an_int8_model_has_a_tolerance_of_its_own_and_weights_of_one_byte(name, calibrated, run_dir, cnn_dir, tmp_path):
    source, kind = {"Net": (run_dir, Net), "Cnn": (cnn_dir, Cnn)}[name]
    target, generator = tmp_path / "model.onnx", torch.Generator().manual_seed(3)
    inputs = torch.randn(16, 6, generator=generator)
    given = ["--inputs", arrays(tmp_path, features=inputs.numpy())] if calibrated else []
    code, out, err = ckpt(
        "export", source, "best", "--to", target, "--model", f"tests.export.models:{name}", "--int8", "--json", *given
    )
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert 1e-4 < facts["relative"] <= facts["tolerance"] == 0.05
    import onnx  # here, because the quick tests need it not

    weights = onnx.load(target).graph.initializer
    assert any(one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1 for one in weights)
    module = kind.load_from_checkpoint(open_run(source).best().path).eval()
    found = outputs_of(target, {"features": inputs.numpy()})
    assert distance([module(inputs).detach().numpy()], found) <= facts["tolerance"]


def test_int8_is_for_onnx_alone(run_dir, tmp_path):
    with pytest.raises(ExportError, match=r"a.pt2: int8 \(--int8\) is for .onnx"):
        export(run_dir / "best.ckpt", tmp_path / "a.pt2", model=Net, int8=True)
    assert left(tmp_path) == []


def test_a_program_needs_the_class_alone_and_says_for_which_batches_it_is(run_dir, tmp_path):
    code, out, err = ckpt("export", run_dir, "best", "--to", tmp_path / "a.pt2", "--model", "tests.export.models")
    assert (code, err) == (0, "")  # the record knows the name of the class
    assert out.splitlines()[0].endswith("best.ckpt, for any batch size") or ", for any batch size" in out
    assert "largest difference of its outputs: 0 absolute, 0 relative" in out


def test_the_callers_own_module_stays_as_it_was(run_dir, tmp_path):
    module = Net(width=5, tied=True)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.first.eval()
    export(run_dir / "best.ckpt", tmp_path / "a.pt2", model=module)
    assert module.training and not module.first.training and all(p.requires_grad for p in module.parameters())
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())


def test_a_script_in_the_current_folder_can_hold_the_class(run_dir, tmp_path, monkeypatch):
    (tmp_path / "my_script.py").write_text("from tests.export.models import Net\n")
    monkeypatch.chdir(tmp_path)
    for named in ("my_script.py:Net", "my_script"):
        assert ckpt("export", run_dir, "--to", "a.pt2", "last", "--model", named, "--force")[0] == 0


@pytest.mark.parametrize("suffix", [pytest.param(".onnx", marks=pytest.mark.export), ".pt2"])
def test_inputs_of_a_file_are_passed_by_name_and_fit_the_models_precision(suffix, two, tmp_path):
    target = tmp_path / f"two{suffix}"
    inputs = arrays(tmp_path, weight=WEIGHT, words=WORDS)  # doubles, in another order
    done = export(two, target, model=Two, inputs=inputs)
    assert done.any_batch and done.relative < 1e-6
    if suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(target)
        assert [(x.name, x.shape) for x in session.get_inputs()] == [("words", ["batch", 3]), ("weight", ["batch", 3])]
        assert [x.name for x in session.get_outputs()] == ["output_0", "output_1", "output_2"]


class Fixed(torch.nn.Module):
    """A module whose code holds the size of its batch."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return (x * self.scale).reshape(3, 4)


@pytest.mark.parametrize("suffix", [pytest.param(".onnx", marks=pytest.mark.export), ".pt2", ".torchscript"])
def test_a_file_for_one_batch_size_says_so(suffix, tmp_path):
    done = export(saved(tmp_path / "a.ckpt", Fixed()), tmp_path / f"a{suffix}", model=Fixed, inputs=torch.ones(3, 4))
    assert done.any_batch is False and done.absolute == 0


@pytest.mark.export
def test_a_large_onnx_model_has_its_weights_beside_it_and_both_change_together(run_dir, tmp_path, monkeypatch):
    target, data = tmp_path / "a.onnx", tmp_path / "a.onnx.data"
    monkeypatch.setattr(onnx_file, "INLINE", 0)
    done = export(run_dir / "best.ckpt", target, model=Net)
    assert done.files == (target, data) and done.size == target.stat().st_size + data.stat().st_size
    inputs = {"features": np.ones((2, 6), np.float32)}
    (before,) = outputs_of(target, inputs)
    target.unlink()
    with pytest.raises(ExportError, match=r"a.onnx.data: exists"):
        export(run_dir / "best.ckpt", target, model=Net)
    monkeypatch.undo()
    assert export(run_dir / "best.ckpt", target, model=Net, force=True).files == (target,)
    assert left(tmp_path) == [target.name]  # the data of the old model would never be read again
    assert distance([before], outputs_of(target, inputs)) < 1e-6
