"""Training runs in processes that are killed or use several devices."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.task import (
    BACKEND,
    ONCE,
)  # fmt: skip
from tests.support.forks import forks_of
from tests.support.processes import ENVIRONMENT

HERE = Path(__file__).parent


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@(pytest.mark.slow if BACKEND != "tensorflow" else lambda test: test)
def test_a_killed_run_ends_like_an_uninterrupted_one(tmp_path):
    dirpath, whole = tmp_path / "killed", tmp_path / "whole"
    forks = forks_of()
    victim = forks.start(HERE / "train_slowly.py", dirpath, tmp_path / "first.facts", 0.1)
    deadline = time.monotonic() + 120
    while not any(r.epoch == 2 and r.status.value == "verified" for r in Manifest.read(dirpath).records.values()):
        assert victim.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    forks.run(HERE / "train_slowly.py", dirpath, tmp_path / "second.facts", 0, whole)
    resumed, uninterrupted = lines(tmp_path / "second.facts"), lines(f"{whole}.facts")
    assert resumed[0]["step"] >= 8
    assert resumed == uninterrupted[-len(resumed) :]
    assert len({fact["stale"] for fact in uninterrupted}) > 1 and resumed[0]["best"] is not None


@ONCE
@pytest.mark.slow
def test_a_mirrored_model_saves_and_resumes(tmp_path):
    subprocess.run([sys.executable, HERE / "train_mirrored.py", tmp_path], env=ENVIRONMENT, check=True, timeout=120)
