"""Two real processes (gloo): they make the same decisions, do not hang, and resume exactly."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.support.forks import forks_of
from tests.support.processes import ENVIRONMENT
from tests.support.waiting import until

HERE = Path(__file__).parent


def run(dirpath, epochs, *disturbance):
    done = forks_of().complete(HERE / "train_ddp.py", dirpath, epochs, *disturbance)  # starts the other process itself
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    code, facts = run(tmp_path_factory.mktemp("whole"), 3, "ask", 0, 6)
    assert code == 0, facts
    return facts


def goes_on_like(whole, dirpath):
    code, facts = run(dirpath, 3)
    assert code == 0, facts
    assert facts["digest"] == whole["digest"] and facts["best"] == whole["best"]


@pytest.mark.slow
def test_two_processes_decide_alike_and_save_on_demand(whole):
    # 5 steps an epoch in each process; the epoch's end at 5, 10, 15, and every fourth step
    assert whole["steps"] == [7, 10, 12, 15] and whole["asked"] == [7], "what was asked for is pinned"


@pytest.mark.slow
def test_a_crash_resumes_exactly(tmp_path, whole):
    code, _ = run(tmp_path, 3, "crash", 1, 7)
    assert code != 0
    goes_on_like(whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("what, step", [("crash", 9), ("term", 7)])
def test_what_the_modules_hooks_do_is_resumed_in_mid_epoch(tmp_path, what, step):
    code, whole = run(tmp_path / "whole", 3, "nothing", 0, 0, "hooks")
    assert code == 0, whole
    code, said = run(tmp_path / "cut", 3, what, 1, step, "hooks")
    assert code != 0 and Manifest.read(tmp_path / "cut").live()[-1].step == 8, said
    code, facts = run(tmp_path / "cut", 3, "nothing", 0, 0, "hooks")
    assert code == 0, facts
    assert facts["digest"] == whole["digest"] and facts["best"] == whole["best"]


@pytest.mark.slow
def test_a_process_whose_companion_hangs_ends_in_time(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "GRACE", "1")
    child = forks_of().start(HERE / "train_ddp.py", tmp_path, 3, "stop", 1, 7)
    stopped = int(next(line for line in child.stdout if line.startswith("stopped")).split()[1])
    try:
        until(lambda: Path(f"/proc/{stopped}/stat").read_text().rsplit(")")[-1].split()[0] == "T")
        time.sleep(0.5)  # until the first one waits for it, in C code
        child.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert child.wait(20) == 143 and time.monotonic() - begun < 15
    finally:
        os.kill(stopped, signal.SIGKILL)
    monkeypatch.undo()
    code, facts = run(tmp_path, 3)
    assert code == 0, facts


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_ends_both_with_a_checkpoint_of_the_last_step(tmp_path, whole, rank):
    code, said = run(tmp_path, 3, "term", rank, 7)
    assert code == 143, said
    assert said.count("left the group") == 2  # else gloo's threads abort a process now and then
    last = Manifest.read(tmp_path).live()[-1]
    assert (last.step, last.status.value, last.reasons[-1]) == (8, "verified", "preemption")
    goes_on_like(whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_exception_in_one_process_does_not_hang_the_other(tmp_path, rank):
    code, said = run(tmp_path, 3, "raise", rank, 7)
    assert code != 0 and "ZeroDivisionError" in said
    assert [record.step for record in Manifest.read(tmp_path).live()][:2] == [4, 5]


@pytest.mark.slow
def test_two_processes_that_resume_from_different_places_are_one_clear_line(tmp_path):
    code, facts = run(tmp_path, 1)
    assert code == 0, facts
    code, said = run(tmp_path, 2, "fresh", 1, 0)
    assert code != 0
    assert "ResumeError: process 1: ckpt_path is None; the first process has " in said
