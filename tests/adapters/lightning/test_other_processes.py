"""A resume in mid-epoch by more or fewer processes: it continues at the same sample, or begins the epoch again."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.adapters.lightning.test_changed_data import ONCE, ROWS
from tests.support.processes import ENVIRONMENT

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


def train(dirpath, processes, step, kind):
    command = [sys.executable, str(HERE / "train_processes.py"), str(dirpath), str(processes), str(step), kind]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert done.returncode == (3 if step else 0), done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    "kind, before, after, step, continues",
    [
        ("plain", 2, 1, 6, False),
        ("stateful", 1, 2, 11, False),
        ("stream", 2, 1, 6, False),
        ("same batch", 1, 2, 6, True),
    ],
)
def test_no_sample_is_left_out_or_trained_twice_in_silence(tmp_path, kind, before, after, step, continues):
    first, _ = train(tmp_path, before, step, kind)
    second, said = train(tmp_path, after, 0, kind)
    assert set(second) == {"1", "2"} and Counter(second["2"]) == ONCE
    if continues:
        assert said.count("the epoch continues after") == 1
        assert Counter(first["1"] + second["1"]) == ONCE
    else:
        assert said.count("that epoch begins again; to continue midway, keep the number of processes") == 1
        assert Counter(second["1"]) == ONCE and 0 < len(first["1"]) < ROWS
    assert said.count(f"random states of {before} processes, and the training has {after}") == 1
