"""The alarm: it rings once, on time, and on a thread that does not stay."""

import math
import threading
import time

import pytest

from ckpt_callbacks.runtime import clock as alarm
from ckpt_callbacks.runtime.clock import Alarm


@pytest.fixture
def rung():
    return []


@pytest.fixture
def clock(rung):
    made = Alarm(time.monotonic, lambda: rung.append(time.monotonic()))
    yield made
    made.set(math.inf)


def sleepers():
    return [thread for thread in threading.enumerate() if thread.name == "ckpt_alarm"]


def until(condition):
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_it_rings_once_and_not_before_its_moment(clock, rung):
    moment = time.monotonic() + 0.05
    clock.set(moment)
    until(lambda: rung)
    assert rung[0] >= moment
    time.sleep(0.05)
    assert len(rung) == 1


def test_a_moment_that_is_over_rings_at_once(clock, rung):
    clock.set(time.monotonic() - 1)
    until(lambda: rung)


def test_a_nearer_moment_takes_the_place_of_a_later_one(clock, rung):
    clock.set(time.monotonic() + 1000)
    clock.set(time.monotonic() + 0.05)
    until(lambda: rung)
    assert len(rung) == 1


def test_a_later_moment_takes_the_place_of_a_nearer_one(clock, rung):
    clock.set(time.monotonic() + 0.05)
    later = time.monotonic() + 0.3
    clock.set(later)
    until(lambda: rung)
    assert rung[0] >= later and len(rung) == 1


def test_one_thread_serves_all_moments_and_ends_when_there_are_none(clock, rung):
    for count in range(1, 4):
        clock.set(time.monotonic() + 0.01)
        until(lambda: len(rung) == count)  # noqa: B023
        assert len(sleepers()) == 1
    clock.set(math.inf)
    until(lambda: not sleepers())
    clock.set(time.monotonic() + 0.01)
    until(lambda: len(rung) == 4)


def test_an_alarm_that_is_set_and_ended_at_once_leaves_no_thread(clock):
    for _ in range(20):  # mostly, the thread has not begun to wait when it is told to end
        clock.set(time.monotonic() + 60)
        clock.end()
        assert not sleepers()


def test_a_thread_that_is_not_asked_again_ends_by_itself(clock, rung, monkeypatch):
    monkeypatch.setattr(alarm, "_LINGERS", 0.05)
    clock.set(time.monotonic() + 0.12)  # longer than it lingers
    until(lambda: rung)
    until(lambda: not sleepers())
