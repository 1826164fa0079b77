"""The steps that an adapter need not report to its run."""

import os
import signal

import pytest

from ckpt_callbacks import Every, OnDeadline, OnPreempt, Policy
from ckpt_callbacks.events import EventKind
from ckpt_callbacks.runtime.processes import Processes
from ckpt_callbacks.testing import FakeClock
from tests.support.training import new_run, report, start


def started(dirpath, save, **settings):
    clock = FakeClock()
    run = new_run(dirpath, Policy(save), suffix=".x", clock=clock, **settings)
    run.open()
    clock.advance(100.0)
    start(run)
    return run, clock


def passes(run, step):
    return step < run.gate.step and not run.gate.alarm


def test_it_rests_until_the_step_or_the_moment_that_matters(tmp_path):
    run, clock = started(tmp_path, Every(steps=10) | Every(seconds=0.25))
    assert not passes(run, 1)
    run.poll_requests()  # looks for the file
    run.close_gate()
    assert passes(run, 9) and not passes(run, 10)
    clock.advance(0.3)
    assert not passes(run, 1)
    run.close()


def test_it_checks_for_requests_twice_a_second_and_for_a_deadline_by_the_time_of_day(tmp_path):
    run, clock = started(tmp_path, OnDeadline(10, end=FakeClock().wall() + 110.2))
    run.poll_requests()
    run.close_gate()
    assert passes(run, 1)
    clock.advance(0.21)
    assert not passes(run, 1)
    run.close()
    run, clock = started(tmp_path, Every(steps=10))
    run.poll_requests()
    run.close_gate()
    clock.advance(0.4)
    assert passes(run, 1)
    clock.advance(0.1)
    assert not passes(run, 1)
    run.close()


def test_a_signal_ends_it_at_once_and_stays_until_it_is_looked_at(tmp_path):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        run, _ = started(tmp_path, OnPreempt())
        run.poll_requests()
        run.close_gate()
        assert passes(run, 1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not passes(run, 1)
        run.close_gate()  # in mid-accumulation nothing was looked at
        assert not passes(run, 1)
        with pytest.raises(SystemExit):
            report(run, EventKind.STEP_END, step=1, epoch=0)
        assert [record.step for record in run.view.records()] == [1]
        run.close()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_processes_that_train_together_never_rest(tmp_path):
    class Two(Processes):
        is_single = False

    run, _ = started(tmp_path, Every(steps=10))
    run.processes = Two()
    run.close_gate()
    assert not passes(run, 1)
    run.close()
