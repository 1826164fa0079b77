"""Two real processes (gloo): they decide alike, do not hang, and resume exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(dirpath, epochs, *crash):
    command = [sys.executable, str(HERE / "train_ddp.py"), str(dirpath), str(epochs), *map(str, crash)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def test_two_processes_decide_alike_and_resume_exactly(tmp_path):
    whole = run(tmp_path / "whole", 3)
    assert whole.returncode == 0, whole.stderr[-2000:]
    crashed = run(tmp_path / "cut", 3, 7)
    assert crashed.returncode != 0
    resumed = run(tmp_path / "cut", 3)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    facts = [json.loads(p.stdout.splitlines()[-1]) for p in (whole, resumed)]
    assert facts[0] == facts[1]
    # 5 steps an epoch in each process; the epoch's end at 5, 10, 15, and every fourth step
    assert facts[0]["steps"] == [10, 12, 15]
