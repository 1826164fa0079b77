"""Signals to the whole process group of a training run whose data comes from processes."""

import os
import signal
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.support.forks import forks_of
from tests.support.interrupted import wait_for
from tests.support.waiting import until

SCRIPT = Path(__file__).parent / "train_with_workers.py"


@pytest.mark.parametrize(
    "number, method, kind, slow",
    [
        (signal.SIGTERM, "fork", "new", "data"),
        pytest.param(signal.SIGTERM, "fork", "persistent", "training", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "fork", "new", "data", marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, "fork", "new", "data", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "spawn", "new", "data", marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, "spawn", "persistent", "training", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "fork", "earlier", "training", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "fork", "earlier", "data", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "forkserver", "new", "data", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "fork", "none", "data", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_group_saves_once_and_gives_its_exit_code(tmp_path, number, method, kind, slow):
    child = forks_of().start(SCRIPT, tmp_path, method, kind, slow)
    wait_for(child, "step 3")
    os.killpg(child.pid, number)
    said = child.stdout.read()
    assert child.wait(60) == (1 if number == signal.SIGINT else 128 + number), said
    assert said.count("saving at the next safe point") == 1
    [record] = Manifest.read(tmp_path).live()
    assert record.reasons == ("preemption",) and 3 <= record.step <= 6
    until(lambda: not is_alive(child.pid))


def is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
