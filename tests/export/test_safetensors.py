"""A checkpoint as a safetensors file, and what every export refuses."""

import json
import shutil
import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from safetensors.torch import load_file

from ckpt_callbacks import (
    Contents,
    ExportDiffers,
    ExportError,
    MissingDependency,
    Record,
    VerifyError,
    load_weights,
    open_run,
)
from ckpt_callbacks.export import export, libraries, tensor_file
from ckpt_callbacks.export.checkpoint import Checkpoint
from ckpt_callbacks.formats.compressed.writer import compress
from tests.cli.command_line import ckpt
from tests.formats.reducible import reduced


def weights(run_dir):
    return torch.load(open_run(run_dir).best().path, weights_only=True)["state_dict"]


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_command_writes_the_weights_of_a_checkpoint_and_needs_no_class(run_dir, tmp_path):
    target = tmp_path / "model.safetensors"
    code, out, err = ckpt("export", run_dir, "best", "--to", target)
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "largest difference of its tensors: 0 absolute, 0 relative (allowed: 0.0001)"
    found, expected = load_file(target), weights(run_dir)
    assert {**found}.keys() == expected.keys() and all(found[name].equal(expected[name]) for name in expected)
    assert left(tmp_path) == [target.name]
    facts = json.loads(ckpt("export", run_dir / "best.ckpt", "--to", target, "--force", "--json")[1])
    assert (facts["path"], facts["absolute"], facts["size"]) == (str(target), 0, target.stat().st_size)


def test_objects_of_other_classes_and_compression_are_no_obstacle(tmp_path):
    torch.save({"state_dict": {"a": torch.eye(2)}, "hyper_parameters": {"rate": Fraction(1, 3)}}, tmp_path / "a.ckpt")
    compress(tmp_path / "a.ckpt", tmp_path / "b.ckpt.cz", {})
    for name in ("a.ckpt", "b.ckpt.cz"):
        target = tmp_path / f"{name}.safetensors"
        assert export(tmp_path / name, target).absolute == 0
        assert load_file(target)["a"].equal(torch.eye(2))
        assert target.stat().st_mode == (tmp_path / "a.ckpt").stat().st_mode
    assert len(left(tmp_path)) == 4


def test_only_a_temporary_copy_names_the_packed_checkpoint_that_it_comes_from(tmp_path):
    torch.save({"state_dict": {"a": torch.eye(2)}}, tmp_path / "a.ckpt")
    compress(tmp_path / "a.ckpt", tmp_path / "b.ckpt.cz", {})
    for name, packed in (("a.ckpt", None), ("b.ckpt.cz", tmp_path / "b.ckpt.cz")):
        with Checkpoint.find(tmp_path / name).native(tmp_path) as native:
            assert (native.packed, native.known_as) == (packed, tmp_path / name)
            assert (native.path == tmp_path / name) == (packed is None)


def test_whole_numbers_are_exported_as_the_weights_that_they_stand_for(tmp_path):
    torch.manual_seed(0)
    torch.save({"state_dict": torch.nn.Linear(40, 30).state_dict()}, tmp_path / "a.ckpt")
    new, _ = reduced(tmp_path / "a.ckpt", Record(1, "a.ckpt"), Contents("weights", "int8"))
    assert export(new, tmp_path / "a.safetensors").absolute == 0
    found, expected = load_file(tmp_path / "a.safetensors"), load_weights(new)
    assert found.keys() == {"weight", "bias"} and all(found[name].equal(expected[name]) for name in found)
    saved = torch.load(new)
    del saved["state_dict"]["weight.scale"]
    torch.save(saved, new)
    with pytest.raises(ExportError, match="weight of type int8 is not complete"):
        export(new, tmp_path / "b.safetensors")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_tensors_of_every_type_are_compared_bit_by_bit(dtype, tmp_path):
    values = torch.tensor([0.0, 1.0, float("nan")] if dtype.is_floating_point else [0, 1, 1]).to(dtype)
    torch.save({"state_dict": {"a": values, "scalar": values[1], "none": values[:0], "part": values[1:]}},
               tmp_path / "a.ckpt")  # fmt: skip
    assert export(tmp_path / "a.ckpt", tmp_path / "a.safetensors").absolute == 0
    assert load_file(tmp_path / "a.safetensors")["a"].dtype is dtype


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("model.pt", "which format? expected a file whose name ends in one of .safetensors"),
        ("missing/model.safetensors", "is not a directory; expected one that exists"),
        ("old.safetensors", "exists; expected a new name, or force=True (--force) to replace it"),
        ("folder.safetensors", "is a directory; expected the name of a file"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(to, problem, run_dir, tmp_path):
    (tmp_path / "old.safetensors").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    code, out, err = ckpt("export", run_dir, "best", "--to", tmp_path / to)
    assert (code, out) == (2, "") and problem in err and err.count("\n") == 1
    assert left(tmp_path) == ["folder.safetensors", "old.safetensors"]
    assert (tmp_path / "old.safetensors").read_text() == "mine"


def test_a_checkpoint_is_never_replaced(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    before = left(copy)
    named = (copy / "best.ckpt").rename(copy / "best.safetensors")  # a link that another version might leave
    code, _, err = ckpt("export", copy, "last", "--to", named, "--force")
    assert code == 2 and "is a checkpoint of the run" in err
    assert len(left(copy)) == len(before)


def test_a_damaged_checkpoint_is_not_exported(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run", symlinks=True)
    path = open_run(copy).best().path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for given in (open_run(copy).best(), path, copy / "best.ckpt"):
        with pytest.raises(VerifyError, match="its bytes changed"):
            export(given, tmp_path / "a.safetensors")
    assert left(tmp_path) == ["run"]


def test_a_file_that_differs_is_removed_and_the_status_is_1(run_dir, tmp_path, monkeypatch):
    target = tmp_path / "a.safetensors"
    honest = tensor_file.write_torch

    def wrong(path, tensors):
        honest(path, {name: value * (1 + 1e-3) for name, value in tensors.items()})

    monkeypatch.setattr(tensor_file, "write_torch", wrong)
    code, out, err = ckpt("export", run_dir, "best", "--to", target)
    assert (code, out) == (1, "") and "was not written: it differs" in err and "0.001 of the largest" in err
    assert left(tmp_path) == []
    with pytest.raises(ExportDiffers):
        export(run_dir / "best.ckpt", target)
    assert export(run_dir / "best.ckpt", target, tolerance=0.01).relative == pytest.approx(1e-3, rel=1e-3)


def test_an_exporter_that_fails_half_way_leaves_the_old_file(run_dir, tmp_path, monkeypatch):
    target = tmp_path / "a.safetensors"
    target.write_text("old")

    def fail(path, tensors):
        path.write_text("half")
        raise RuntimeError("no room in the attic\nat all")

    monkeypatch.setattr(tensor_file, "write_torch", fail)
    with pytest.raises(ExportError, match=r"cannot be written from .*: RuntimeError: no room in the attic$"):
        export(run_dir / "best.ckpt", target, force=True)
    assert left(tmp_path) == [target.name] and target.read_text() == "old"


def test_a_missing_library_is_named_with_its_command(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "is_installed", lambda module: module != "safetensors")
    with pytest.raises(MissingDependency) as caught:
        export(run_dir / "best.ckpt", tmp_path / "a.safetensors")
    assert str(caught.value) == 'safetensors is not installed: run `pip install "ckpt-callbacks[export]"`'
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("saved", "problem"),
    [
        ({"state_dict": {"a": torch.eye(2).to_sparse()}}, "'a' is sparse or quantized"),
        ({"state_dict": {"a": {"b": 1}}}, "'a' is dict, and safetensors holds tensors alone"),
        ({"epoch": 1}, "holds no 'state_dict'"),
        ("text", "neither torch nor Keras wrote it"),
    ],
)
def test_a_file_that_holds_no_plain_weights_is_refused(saved, problem, tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_text(saved) if isinstance(saved, str) else torch.save(saved, path)
    with pytest.raises(ExportError, match=problem):
        export(path, tmp_path / "a.safetensors")
    assert left(tmp_path) == ["a.ckpt"]


def test_help_imports_no_library():
    code = """
import sys
from click.testing import CliRunner
from ckpt_callbacks.cli import main
assert CliRunner().invoke(main, ["export", "--help"]).exit_code == 0
print(*{"numpy", "torch", "keras", "safetensors", "onnx", "ckpt_callbacks.export"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
