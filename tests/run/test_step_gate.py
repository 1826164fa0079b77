"""The steps that an adapter need not report to its run."""

import itertools
import math
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
    run.save_if_urgent(step=0, epoch=0)  # looks for the file
    run.close_gate()
    assert passes(run, 9) and not passes(run, 10)
    clock.advance(0.3)
    assert not passes(run, 1)
    run.close()


def test_it_checks_for_requests_twice_a_second_and_for_a_deadline_by_the_time_of_day(tmp_path):
    run, clock = started(tmp_path, OnDeadline(10, end=FakeClock().wall() + 110.2))
    run.save_if_urgent(step=0, epoch=0)
    run.close_gate()
    assert passes(run, 1)
    clock.advance(0.21)
    assert not passes(run, 1)
    run.close()
    run, clock = started(tmp_path, Every(steps=10))
    run.save_if_urgent(step=0, epoch=0)
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
        run.save_if_urgent(step=0, epoch=0)
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


class Two(Processes):
    is_single = False


def until_next(run, step, each_step=False):
    """Agree at ``step``, and return how many steps the next agreement is ahead."""
    run.agree(step, measured=False, each_step=each_step)
    report(run, EventKind.STEP_END, step=step, epoch=0)
    run.close_gate()
    return run.gate.step - step


def agreements(run, clock, took, steps):
    """Train, with ``took`` seconds a step; return the steps at which the processes have agreed."""
    agreed = []
    for step in steps:
        clock.advance(took)
        if run.gate.reports(step):
            until_next(run, step)
            agreed.append(step)
    return agreed


def together(dirpath, save, **settings):
    run, clock = started(dirpath, save, **settings)
    run.processes = Two()
    return run, clock


def test_processes_that_train_together_agree_twice_a_second_and_at_the_steps_of_rules(tmp_path):
    run, clock = together(tmp_path, Every(steps=100))
    assert agreements(run, clock, 0.05, range(1, 51)) == [1, 2, 4, 8, 16, 26, 36, 46]
    assert agreements(run, clock, 0.01, range(51, 151)) == [56, 75, 100, 150]
    run.close()


def test_a_signal_is_agreed_on_in_time_even_if_steps_become_a_hundred_times_slower(tmp_path):
    run, clock = together(tmp_path, OnPreempt(), grace=10)
    steps = agreements(run, clock, 0.005, range(1, 500))
    assert max(b - a for a, b in itertools.pairwise(steps)) * 100 * 0.005 == 10 / 2
    run.close()


def test_a_further_fit_measures_its_own_steps(tmp_path):
    run, clock = together(tmp_path, OnPreempt(), grace=10)
    agreements(run, clock, 0.001, range(1, 500))
    start(run)
    assert agreements(run, clock, 2.0, range(501, 504)) == [501, 502, 503]
    run.close()


def test_processes_agree_when_a_rule_of_time_is_due(tmp_path):
    run, clock = together(tmp_path, Every(seconds=2.22), background=False)
    steps = agreements(run, clock, 0.01, range(1, 500))
    assert [record.step for record in run.view.records()] == [222, 444]
    assert len(steps) < 25
    run.close()


def test_processes_agree_at_each_step_if_one_of_them_measures_it(tmp_path):
    run, clock = together(tmp_path, Every(steps=100))
    agreements(run, clock, 0.01, range(1, 50))
    assert until_next(run, 50, each_step=True) == 1
    run.close()


def test_the_time_of_a_validation_is_no_time_of_steps(tmp_path):
    run, clock = together(tmp_path, Every(steps=1000))
    last = agreements(run, clock, 0.01, range(1, 200))[-1]
    clock.advance(100.0)
    report(run, EventKind.VALIDATION_END, step=last, epoch=0)
    assert not run.gate.alarm and run.gate.step == -math.inf, "the first step after it is agreed on"
    assert until_next(run, last + 1) == 50
    run.close()
