"""Outcomes of saves: what is moved, recorded and raised, and when."""

import os
import threading
import time

import pytest

from ckpt_callbacks import (
    CommitError,
    EventKind,
    Every,
    KeepBest,
    KeepLast,
    Policy,
    Status,
)
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.run.background import VAL, Held, epoch, nothing
from tests.support.training import report, saver_of, written
from tests.support.waiting import until


def test_nothing_moves_before_a_checkpoint_is_durable(begin):
    run, told = begin(), []
    run.listeners.append(lambda record: told.append(record.epoch))
    epoch(run, 1, 5.0)
    run.wait()

    def seen():
        links = {os.readlink(run.dirpath / f"{name}.raw") for name in ("last", "best")}
        return told, run.view.last().epoch, run.view.best().epoch, links, [r.epoch for r in run.view.records()]

    first = run.view.last().file
    second = epoch(run, 2, 3.0, held=True)
    nothing(run, 21)
    assert seen() == ([1], 1, 1, {first}, [1])
    second.go.set()
    written(run)
    assert told == [1], "the training was told on another thread than its own"
    nothing(run, 22)
    assert seen() == ([1, 2], 2, 2, {run.view.last().file}, [1, 2])
    assert run.view.last().file != first


def test_a_record_says_when_it_was_asked_for_and_how_long_it_took(begin):
    run = begin(clock=(clock := FakeClock()))
    first = epoch(run, 1, held=True)
    clock.advance(7)
    first.go.set()
    run.wait()
    assert run.view.last().timings == {"blocked": 0, "written": 7, "verified": 7}


def test_training_that_writes_the_file_itself_is_blocked_until_it_is_written(begin):
    run = begin(clock=(clock := FakeClock()), background=False)
    slow = Held(run, held=False)
    slow.write = lambda path: (clock.advance(7), Held.write(slow, path))[1]
    report(run, EventKind.EPOCH_END, step=10, epoch=1, metrics={"val": 1.0}, complete=True, stage=slow)
    assert run.state.costs.blocked == 7


def test_a_checkpoint_holds_the_saves_that_are_under_way_and_no_others(begin):
    """Otherwise, each file of a long run would be larger than the one before."""
    run = begin(max_pending=3)
    for number in range(1, 4):
        epoch(run, number)
        run.wait()
    epoch(run, 4, held=True, fails=2).go.set()
    run.wait()
    first, second = epoch(run, 5, held=True), epoch(run, 6, held=True)
    under_way = run.embedded_state()["under_way"]
    first.go.set(), second.go.set()
    run.wait()
    assert list(under_way.values()) == [r.id for r in run.view.records()[-2:]]
    assert run.embedded_state()["under_way"] == {}
    assert not saver_of(run).records


def test_the_old_best_stays_until_the_new_one_is_durable(begin):
    run = begin(Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, VAL)), max_pending=2)
    epoch(run, 1, 5.0)
    run.wait()
    first, second, third = run.view.best(), epoch(run, 2, 3.0, held=True), epoch(run, 3, 4.0, held=True)
    nothing(run, 31)
    assert first.path.exists()
    second.go.set()
    until(lambda: not first.path.exists())
    verify(run.view.best())
    assert run.view.best().epoch == 2
    third.go.set()
    run.wait()
    assert [r.epoch for r in run.view.records()] == [2, 3]


def test_an_error_is_on_record_and_known_at_the_next_event(begin, caplog):
    run = begin()
    epoch(run, 1, held=True, fails=2).go.set()
    written(run)
    assert run.state.failures == 0
    nothing(run, 11)
    assert run.state.failures == 1 and "step 10 was not saved" in caplog.text
    (failed,) = Manifest.read(run.dirpath).records.values()
    assert failed.status is Status.FAILED and "No space left" in failed.error
    report(run, EventKind.STEP_END, step=12, epoch=1, stage=Held(run, held=False))
    run.wait()
    assert [r.step for r in run.view.records()] == [12], "what was due stayed due"


def test_an_error_is_raised_at_the_next_event_and_once(begin):
    run = begin(on_error="raise")
    epoch(run, 1, held=True, fails=2).go.set()
    written(run)
    with pytest.raises(CommitError, match="step 10 was not saved: OSError"):
        nothing(run, 11)
    nothing(run, 12)


def test_an_error_of_the_last_save_is_raised_before_the_training_ends(begin):
    run = begin(on_error="raise")
    with pytest.raises(CommitError, match="step 10"):
        report(run, EventKind.END, step=10, epoch=1, stage=Held(run, held=False, fails=2))


def test_a_listener_that_raises_is_logged_and_leaves_no_directory_locked(begin, caplog):
    run = begin()
    run.listeners.append(lambda record: 1 / 0)
    epoch(run, 1)
    run.close()
    assert "a listener failed on model-001-10.raw: ZeroDivisionError" in caplog.text
    begin()


def test_a_background_listener_is_called_on_a_thread_of_its_own_in_order(begin):
    run, calls = begin(), []

    def listener(record):
        time.sleep(0.01)
        calls.append((record.epoch, threading.current_thread() is threading.main_thread()))

    listener.background = True
    run.listeners.append(listener)
    for number in (1, 2, 3):
        epoch(run, number)
    run.close()
    assert calls == [(1, False), (2, False), (3, False)]
