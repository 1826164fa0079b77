"""Torch models as ONNX, torch.export and TorchScript files."""

import json

import numpy as np
import pytest
import torch

from ckpt_callbacks import ExportDiffers, ExportError, open_run
from ckpt_callbacks.export import export, onnx_file, program_file
from tests.cli.command_line import ckpt
from tests.export.alone import distance, outputs_of
from tests.export.models import Cnn, Net, train

SUFFIXES = [".onnx", ".pt2", ".torchscript"]


@pytest.fixture(scope="module")
def cnn_dir(tmp_path_factory):
    return train(tmp_path_factory.mktemp("cnn") / "run", Cnn(width=3))


def saved(path, module):
    """Save a module as a plain loop does, and return the file."""
    torch.save({"state_dict": module.state_dict()}, path)
    return path


def left(folder):
    return sorted(path.name for path in folder.iterdir())


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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "holds the weights, but no code; expected the model's class, as in --model package.module:Net"),
        (["--model", "tests.export.models:Nut"], "has no 'Nut'; expected a class or a function"),
        (["--model", "no_such_module:Net"], "no_such_module cannot be imported: No module named 'no_such_module'"),
        (["--model", "missing.py:Net"], "missing.py cannot be imported: missing.py does not exist"),
        (["--model", "tests.export.models:Cnn"], "does not fit the model: Error(s) in loading state_dict for Cnn"),
        (["--model", "torch.nn:Linear"], "Linear cannot be built from"),
        (["--model", "os:getcwd"], "getcwd returned str; expected a torch.nn.Module"),
        (["--model", ":"], "--model is ':'; expected package.module:Class, or file.py:Class"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(options, problem, run_dir, tmp_path):
    code, out, err = ckpt("export", run_dir, "best", "--to", tmp_path / "a.pt2", *options)
    assert (code, out) == (2, "") and problem in err and err.count("\n") == 1
    assert left(tmp_path) == []


def test_a_script_in_the_current_folder_can_hold_the_class(run_dir, tmp_path, monkeypatch):
    (tmp_path / "my_script.py").write_text("from tests.export.models import Net\n")
    monkeypatch.chdir(tmp_path)
    for named in ("my_script.py:Net", "my_script"):
        assert ckpt("export", run_dir, "--to", "a.pt2", "last", "--model", named, "--force")[0] == 0


def test_the_class_that_a_lightning_cli_has_recorded_is_named_but_not_imported(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "no.such.Net"}}, tmp_path / "a.ckpt")
    with pytest.raises(ExportError, match=r"as in --model no.such:Net \(in Python, model=...\)"):
        export(tmp_path / "a.ckpt", tmp_path / "a.pt2")


class Two(torch.nn.Module):
    """A module of two inputs and three outputs, without sample inputs."""

    def __init__(self):
        super().__init__()
        self.table, self.last = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 2)

    def forward(self, words, weight):
        mean = (self.table(words) * weight[:, :, None]).mean(1)
        return {"logits": self.last(mean), "parts": [mean, mean.sum(1)]}


@pytest.fixture
def two(tmp_path):
    torch.manual_seed(1)
    return saved(tmp_path / "two.ckpt", Two())


def arrays(tmp_path, **named):
    np.savez(tmp_path / "inputs.npz", **named)
    return tmp_path / "inputs.npz"


WORDS, WEIGHT = np.array([[0, 1, 4], [2, 3, 0]]), np.array([[1.0, 0.5, 2.0], [0.1, 1.0, 1.0]])


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


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (None, "Two has no example_input_array; expected --inputs FILE.npz (in Python, inputs=...) with an array for "
         "each argument of Two.forward(words, weight)"),
        ({"words": WORDS}, "the inputs are words; expected an array for each argument of Two.forward(words, weight)"),
        ({"words": WORDS, "wait": WEIGHT}, "Two.forward(words, weight): missing a required argument: 'weight'"),
        ({"words": WORDS + 9, "weight": WEIGHT}, r"fails with (2, 3) int64, (2, 3) float32: index out of range"),
    ],
)  # fmt: skip
def test_sample_inputs_that_are_missing_or_wrong_are_one_line(named, problem, two, tmp_path):
    inputs = None if named is None else arrays(tmp_path, **named)
    with pytest.raises(ExportError) as caught:
        export(two, tmp_path / "two.pt2", model=Two, inputs=inputs)
    assert problem in str(caught.value) and "\n" not in str(caught.value)
    assert "two.pt2" not in left(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_without_sample_inputs_is_one_line(content, two, tmp_path):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=r"bad.npz: (is no .npz file|does not exist); expected sample inputs: a file"):
        export(two, tmp_path / "two.pt2", model=Two, inputs=path)


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


class Branch(torch.nn.Module):
    """A module of which a trace records only one side."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.scale if x.sum() == 0 else x


def test_a_trace_that_misses_a_branch_is_found_although_the_sample_is_all_zeros(tmp_path):
    with pytest.raises(ExportDiffers, match=r"was not written: it differs from"):
        export(saved(tmp_path / "a.ckpt", Branch()), tmp_path / "a.ts", model=Branch, inputs=torch.zeros(2, 4))
    assert left(tmp_path) == ["a.ckpt"]


def test_an_exporter_that_cannot_follow_the_code_leaves_nothing_and_says_why(tmp_path):
    with pytest.raises(ExportError, match=r"a.pt2: cannot be written from .*a.ckpt: \w+: Could not guard"):
        export(saved(tmp_path / "a.ckpt", Branch()), tmp_path / "a.pt2", model=Branch, inputs=torch.zeros(2, 4))
    assert left(tmp_path) == ["a.ckpt"]


def test_an_exporter_that_stops_in_the_middle_leaves_the_old_file(run_dir, tmp_path, monkeypatch):
    target = tmp_path / "a.pt2"
    target.write_text("old")

    def stop(program, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(program_file.torch.export, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        export(run_dir / "best.ckpt", target, model=Net, force=True)
    assert left(tmp_path) == [target.name] and target.read_text() == "old"


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


def test_a_module_without_forward_is_one_line(tmp_path):
    class Bare(torch.nn.Module):
        example_input_array = torch.ones(1, 2)

    with pytest.raises(ExportError, match=r"^Bare has no forward\(\); expected one"):
        export(saved(tmp_path / "a.ckpt", Bare()), tmp_path / "a.pt2", model=Bare())
