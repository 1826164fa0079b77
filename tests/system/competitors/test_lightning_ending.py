"""Runs with Lightning's own callbacks that end badly, and do not with this package (docs/peer-failures.md)."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.support.processes import ENVIRONMENT
from tests.system.competitors.competitor import HERE, fails, faulty

BOUND = 60  # seconds until both processes must have ended, on a busy machine


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_l16_an_exception_on_one_rank_does_not_hang_the_other(tmp_path, rank):
    """Lightning 20187: with save-on-exception, the rank that raised waits forever for the others to save with it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {**ENVIRONMENT, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    command = [sys.executable, HERE / "train_ddp_crash.py", tmp_path, str(rank)]
    processes = [
        subprocess.Popen(command, env={**shared, "LOCAL_RANK": str(n)}, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    deadline = time.monotonic() + BOUND
    try:
        said = [process.communicate(timeout=max(deadline - time.monotonic(), 0))[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all(process.returncode != 0 for process in processes)
    assert "ZeroDivisionError: crash" in said[rank]
    for record in Manifest.read(tmp_path).live():
        verify(record)
        assert record.step == 5 or record.exceptional


@pytest.mark.slow
def test_l17_sigterm_saves_at_once_and_the_exit_code_says_so(tmp_path):
    """Lightning 20806, 21623: SIGTERM saves nothing by default, waits for the validation, and the exit code is 0."""
    codes = faulty("lightning_faults.py", "signals", tmp_path)
    for place, step in {"training": 14, "validation": 20}.items():
        folder = tmp_path / place
        assert codes[f"{place} ours"] == 128 + signal.SIGTERM
        assert (folder / "ours" / "notes").read_text() == "validated 10\n", "a validation was begun, or waited for"
        last = Manifest.read(folder / "ours").live()[-1]
        verify(last)
        assert last.step == step and "preemption" in last.reasons

        fails("lightning", codes[f"{place} theirs"] == 0)
        saved = {path.name for path in (folder / "theirs").glob("epoch*")}
        waited = "validated 20" in (folder / "theirs" / "notes").read_text()
        fails("lightning", waited if place == "validation" else saved == {"epoch=0-step=10.ckpt"})
