"""A training run that is told to end while nobody reads what it prints."""

import signal
import time
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.support.forks import forks_of
from tests.support.interrupted import wait_for

SCRIPT = Path(__file__).parent / "train_talkatively.py"


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["lightning", "keras"])
def test_a_progress_that_nobody_reads_does_not_hold_up_the_last_save(tmp_path, framework):
    child = forks_of().start(SCRIPT, tmp_path, framework)
    wait_for(child, "step 5")
    time.sleep(1)  # the pipe is full soon
    child.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    # a busy framework may take longer than its time to leave the interpreter; the signal ends it then
    assert child.wait(20) in (128 + signal.SIGTERM, -signal.SIGTERM) and time.monotonic() - begun < 15
    assert "preemption" in Manifest.read(tmp_path).live()[-1].reasons
