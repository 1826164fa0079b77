"""The time from a signal to the end of the process, whatever hangs in it."""

import signal
import subprocess
import sys
import time

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.run.background import EACH
from tests.run.train_hanging import BEFORE, GRACE, HANGS
from tests.support.processes import ENVIRONMENT, ROOT
from tests.support.training import new_run
from tests.support.waiting import until

QUICK = ("nobody reads stdout",)


@pytest.mark.parametrize("what", [w if w in QUICK else pytest.param(w, marks=pytest.mark.slow) for w in HANGS])
def test_a_process_ends_in_time_and_has_saved_what_could_be_saved(tmp_path, what):
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.run.train_hanging", tmp_path, what], cwd=ROOT, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        until((tmp_path / "ready").exists)
        time.sleep(0.2)  # so that what hangs at a step hangs
        begun = time.monotonic()
        child.send_signal(signal.SIGTERM)
        code, took = child.wait(20), time.monotonic() - begun
    finally:
        child.kill()
        child.communicate()
    assert took < GRACE + 10
    if what == "C with the GIL":
        assert code == -signal.SIGKILL, "no code of Python's can run any more"
    else:
        assert code in (128 + signal.SIGTERM, -signal.SIGTERM)
    saved = Manifest.read(tmp_path).live()[-1]
    assert saved.status.value == "verified"
    if what in (*BEFORE, "nobody reads stdout", "nobody reads stderr"):
        assert "preemption" in saved.reasons
    run = new_run(tmp_path, EACH)
    run.open()
    run.close()
