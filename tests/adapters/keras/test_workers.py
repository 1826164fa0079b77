"""Signals to the whole process group of a training run whose data comes from processes, threads or programs."""

import os
import signal
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.task import ONCE
from tests.support.forks import forks_of
from tests.support.interrupted import wait_for

pytestmark = ONCE
SCRIPT = Path(__file__).parent / "train_with_workers.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, kind",
    [
        (signal.SIGTERM, "processes"),
        pytest.param(signal.SIGUSR1, "processes", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "processes", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "threads", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "programs", marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, "programs for a validation", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_group_saves_once_and_gives_its_exit_code(tmp_path, number, kind):
    child = forks_of().start(SCRIPT, tmp_path, kind)
    wait_for(child, "step 3")
    os.killpg(child.pid, number)
    said = child.stdout.read()
    assert child.wait(60) == (-number if number == signal.SIGINT else 128 + number), said
    assert said.count("saving at the next safe point") == 1
    [record] = Manifest.read(tmp_path).live()
    assert "preemption" in record.reasons and 3 <= record.step <= 6
