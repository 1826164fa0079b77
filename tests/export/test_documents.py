"""The page on exports and the example, run as they are printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forks import forks_of
from tests.support.processes import ENVIRONMENT, ROOT

PAGE = ROOT / "docs" / "export.md"
SUFFIXES = {".safetensors", ".onnx", ".pt2", ".torchscript", ".ts", ".keras", ".h5", ".weights.h5", ".tflite"}


@pytest.mark.export
def test_the_page_runs(tmp_path):
    """Run its blocks in order, in one folder; the script is the first one."""
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    for language, block in re.findall(r"^```(python|console)\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        if language == "python":
            file = tmp_path / (found[1] if (found := re.match(r"# (\w+\.py)\n", block)) else "block.py")
            file.write_text(block)
            commands = [[sys.executable, str(file)]]
        else:
            words = [shlex.split(line.lstrip("$ ")) for line in block.splitlines()]
            commands = [[str(Path(sys.executable).with_name(line[0])), *line[1:]] for line in words]
        for command in commands:
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stdout, done.stderr[-2000:])
            assert language == "python" or done.stderr == "", done.stderr
    made = {path.name for path in tmp_path.iterdir() if path.is_file()} - {"train.py", "block.py", "sample.npz"}
    assert made == {
        "net.safetensors", "net.onnx", "net.pt2", "net8.onnx", "from_python.pt2", "calibrated.onnx"
    }  # fmt: skip


def test_the_page_names_all_suffixes():
    rows = re.findall(r"^\| (`\..*?) \|", PAGE.read_text(), re.M)
    assert {suffix for row in rows for suffix in re.findall(r"`(\.[\w.]+)`", row)} == SUFFIXES


@pytest.mark.export
def test_the_example_exports_a_model_that_works(tmp_path):
    forks_of().run(ROOT / "examples" / "train_lightning.py", tmp_path / "run", "4")
    command = [sys.executable, ROOT / "examples" / "export.py", tmp_path / "run", tmp_path]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracies = [float(line.rpartition(" ")[2]) for line in done.stdout.splitlines() if "accuracy" in line]
    assert len(accuracies) == 2 and min(accuracies) > 0.9 and abs(accuracies[0] - accuracies[1]) < 0.02
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"digits.safetensors", "digits.onnx", "digits-int8.onnx"}
