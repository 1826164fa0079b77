"""Exports that end before their file is complete, and those that cannot begin."""

import signal
import subprocess

import pytest
import torch

from ckpt_callbacks import ExportDiffers, ExportError
from ckpt_callbacks.export import export, program_file
from tests.cli.command_line import COMMAND, ckpt
from tests.export.models import Net
from tests.export.plain import WEIGHT, WORDS, Two, arrays, left, save_two, saved
from tests.support.processes import ENVIRONMENT


@pytest.fixture
def two(tmp_path):
    return save_two(tmp_path)


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


def test_the_class_that_a_lightning_cli_has_recorded_is_named_but_not_imported(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "no.such.Net"}}, tmp_path / "a.ckpt")
    with pytest.raises(ExportError, match=r"as in --model no.such:Net \(in Python, model=...\)"):
        export(tmp_path / "a.ckpt", tmp_path / "a.pt2")


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


class Opaque(torch.nn.Module):
    """A module that returns an object of its own."""

    def forward(self, x):
        return object()


def test_a_module_that_returns_no_tensors_is_one_line(tmp_path):
    with pytest.raises(ExportError, match=r"^Opaque.forward\(x\) returns no tensors; expected some"):
        export(saved(tmp_path / "a.ckpt", Opaque()), tmp_path / "a.ts", model=Opaque, inputs=torch.ones(1))


def test_a_module_without_forward_is_one_line(tmp_path):
    class Bare(torch.nn.Module):
        example_input_array = torch.ones(1, 2)

    with pytest.raises(ExportError, match=r"^Bare has no forward\(\); expected one"):
        export(saved(tmp_path / "a.ckpt", Bare()), tmp_path / "a.pt2", model=Bare())


SLOW = """
import time
from tests.export.models import Net
class Slow(Net):
    def forward(self, x):
        print("started", flush=True)
        time.sleep(60)
"""


@pytest.mark.export
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_middle_leaves_nothing(number, run_dir, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "to").mkdir()
    command = [*COMMAND, "export", str(run_dir), "best", "--to", "to/a.pt2", "--model", "slow.py:Slow"]
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    assert len(left(tmp_path / "to")) == 1
    process.send_signal(number)
    assert process.wait(30) == (1 if number == signal.SIGINT else 128 + number)  # click's own for an interrupt
    process.stdout.close()
    assert left(tmp_path / "to") == []
