"""Saves in the background: their bounds, and the end of their process."""

import subprocess
import sys
import threading

import pytest

from ckpt_callbacks import (
    EventKind,
    Every,
    KeepAll,
    Policy,
    Status,
)
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.run.background import Held, epoch, wish
from tests.support.processes import ENVIRONMENT
from tests.support.training import report, worker_of, written
from tests.system.faults.inject import in_child


def test_a_process_that_ends_without_close_still_finishes_its_saves(tmp_path):
    script = """
import sys, time
from tests.run.background import EACH, epoch
from tests.support.training import new_run, start
run = new_run(sys.argv[1], EACH, max_pending=2)
run.open(); start(run)
first, second = epoch(run, 1, held=True), epoch(run, 2)
import threading; threading.Timer(0.2, first.go.set).start()
"""
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, env=ENVIRONMENT)
    assert [(r.epoch, r.status) for r in Manifest.read(tmp_path).live()] == [(1, Status.VERIFIED), (2, Status.VERIFIED)]


def test_a_fork_has_none_of_the_saves_of_its_parent(begin, tmp_path):
    run = begin()
    first = epoch(run, 1, held=True)

    def child():
        run.wait()  # for nothing: the thread is the parent's
        other = begin(dirpath=tmp_path / "child")
        epoch(other, 1)
        other.close()
        assert [r.epoch for r in other.view.records()] == [1]

    assert in_child(child) == 0
    assert run.view.records() == []
    first.go.set()
    run.wait()
    assert [r.epoch for r in run.view.records()] == [1]


@pytest.mark.parametrize("max_pending", [1, 2, 3])
def test_no_more_snapshots_are_held_than_may_be_pending(begin, max_pending):
    run, staged, written, held, waits = begin(max_pending=max_pending), [], [], [], threading.Event()

    class Counted(Held):
        def snapshot(self, embedded):
            staged.append(self)
            held.append(len(staged) - len(written))
            return super().snapshot(embedded)

        def release(self):
            written.append(self)

    def save(number):
        report(run, EventKind.EPOCH_END, step=number, epoch=number, metrics={"val": 1.0}, stage=Counted(run))

    def wait(*arguments, wait=worker_of(run).wait):
        waits.set()
        wait(*arguments)

    def let_the_oldest_go():
        waits.wait(30)
        next(snapshot for snapshot in staged if not snapshot.go.is_set()).go.set()

    worker_of(run).wait = wait
    for number in range(1, max_pending + 1):
        save(number)
    assert not waits.is_set(), "a save waited, though another snapshot could be held"
    for number in range(max_pending + 1, 6):
        helper = threading.Thread(target=let_the_oldest_go)
        helper.start()
        save(number)
        waits.set()  # if it did not wait, as it should have
        helper.join()
        waits.clear()
    for snapshot in staged:
        snapshot.go.set()
    run.wait()
    assert held == [min(number, max_pending) for number in range(1, 6)]
    assert [r.epoch for r in run.view.records()] == [1, 2, 3, 4, 5]


def test_a_skipped_save_stays_due_and_is_logged_once(begin, caplog):
    run = begin(Policy(Every(steps=10), KeepAll()), when_busy="skip")
    first = Held(run)
    report(run, EventKind.STEP_END, step=10, epoch=0, stage=first)
    for step in (20, 21, 22):
        report(run, EventKind.STEP_END, step=step, epoch=0, stage=lambda embedded: pytest.fail("was to be skipped"))
    assert caplog.text.count("skipped a save, which stays due") == 1
    first.go.set()
    written(run)
    report(run, EventKind.STEP_END, step=23, epoch=0, stage=Held(run, held=False))
    run.wait()
    assert [r.step for r in run.view.records()] == [10, 23]
    assert run.state.failures == 0 and not Manifest.read(run.dirpath).records.keys() - {1, 2}
    run.close()
    assert "skipped 3 saves in total (max_pending=1)" in caplog.text


@pytest.mark.parametrize("kind", [EventKind.END, EventKind.DEMAND])
def test_the_end_and_requests_are_never_skipped(begin, kind):
    run = begin(when_busy="skip", clock=(clock := FakeClock()))
    first = epoch(run, 1, held=True)
    threading.Timer(0.05, first.go.set).start()
    if kind is EventKind.DEMAND:
        wish(run, clock)
        report(run, EventKind.STEP_END, step=11, epoch=1, stage=Held(run, held=False))
        run.wait()
    else:
        report(run, kind, step=11, epoch=1, stage=Held(run, held=False))
    assert [r.step for r in run.view.records()] == [10, 11]
