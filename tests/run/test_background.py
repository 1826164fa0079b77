"""Saves on a thread beside the training's: their order, their bounds, and when the training hears of them."""

import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks import (
    EMA,
    CommitError,
    EventKind,
    Every,
    Improves,
    KeepAll,
    KeepBest,
    KeepLast,
    Metric,
    OnPreempt,
    Policy,
    Status,
)
from ckpt_callbacks.formats import Written
from ckpt_callbacks.runtime.worker import BackgroundWorker
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.support.processes import ENVIRONMENT
from tests.support.training import new_run, report, start
from tests.system.faults.inject import in_child

VAL = Metric("val", mode="min")
EACH = Policy(Every(epochs=1), KeepAll(), best_by=VAL)


class Held:
    """Snapshots that are not written before they are let go."""

    live = False

    def __init__(self, run, *, held=True, fails=0):
        self.run, self.fails, self.go = run, fails, threading.Event()
        self.staged = self.content = None
        if not held:
            self.go.set()

    def snapshot(self, embedded):
        self.content = json.dumps(embedded.run)
        return self

    def write(self, path):
        assert self.go.wait(30)
        if self.fails:
            self.fails -= 1
            raise OSError(28, "No space left on device")
        path.write_text(self.content)
        return Written()

    def release(self):
        """There is no memory to give back."""


@pytest.fixture
def begin(tmp_path):
    """Begins a training in ``tmp_path``."""
    runs = []

    def begin(policy=EACH, dirpath=tmp_path, clock=None, **given):
        run = new_run(dirpath, policy, **given, suffix=".raw", clock=clock)
        run.open()
        start(run)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.close()


def epoch(run, number, value=1.0, *, held=False, fails=0, kind=EventKind.EPOCH_END):
    """The end of an epoch of 10 steps; returns the snapshot."""
    snapshot = Held(run, held=held, fails=fails)
    report(run, kind, step=number * 10, epoch=number, metrics={"val": value}, complete=True, stage=snapshot)
    return snapshot


def nothing(run, step):
    """An event at which nothing is due."""
    report(run, EventKind.STEP_END, step=step, epoch=0)


def wish(run, clock):
    """Ask for a save, as ``ckpt save`` does; a training looks for that twice a second."""
    (run.dirpath / "SAVE_NOW").touch()
    clock.advance(1)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# -- the worker --------------------------------------------------------------------------------------------------------


def test_jobs_run_in_order_and_one_that_must_run_here_waits_for_them():
    worker, done, go = BackgroundWorker(), [], threading.Event()
    worker.submit(lambda: (go.wait(30), done.append(1)))
    worker.submit(lambda: done.append(2))
    assert worker.waiting == 2 and done == []
    threading.Timer(0.05, go.set).start()
    worker.submit(lambda: done.append(threading.current_thread()), here=True)
    assert done == [1, 2, threading.current_thread()]
    worker.wait()
    assert worker.waiting == 0
    worker.close()
    worker.submit(lambda: done.append(3))
    worker.close()
    assert done[-1] == 3


def test_waiting_until_no_more_than_so_many_are_left():
    worker, gates = BackgroundWorker(), [threading.Event() for _ in range(3)]
    for gate in gates:
        worker.submit(lambda gate=gate: gate.wait(30))
    threading.Timer(0.05, gates[0].set).start()
    worker.wait(2)
    assert worker.waiting == 2
    for gate in gates:
        gate.set()
    worker.close()


def test_a_job_that_raises_is_logged_and_stops_none_behind_it(caplog):
    worker, done = BackgroundWorker(), []
    worker.submit(lambda: 1 / 0)
    worker.submit(lambda: done.append(1))
    worker.close()
    assert done == [1] and worker.waiting == 0 and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_while_a_job_is_handed_over_leaves_nobody_waiting(monkeypatch, late):
    worker, done, real = BackgroundWorker(), [], ThreadPoolExecutor.submit

    def submit(pool, *job):
        if late:
            real(pool, *job).result()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", submit)
        with pytest.raises(KeyboardInterrupt):
            worker.submit(lambda: done.append("interrupted"))
    assert worker.waiting == 0
    worker.submit(lambda: done.append("next"))
    worker.wait()
    assert done == (["interrupted", "next"] if late else ["next"])
    worker.close()


def test_a_worker_can_be_closed_from_a_job_of_its_own():
    """The garbage collector runs finalizers on whatever thread it is called."""
    worker, done = BackgroundWorker(), []
    worker.submit(lambda: (worker.close(), done.append(1)))
    until(lambda: done)


def test_a_process_that_ends_without_close_still_finishes_its_saves(tmp_path):
    script = """
import sys, time
from tests.run.test_background import EACH, Held, epoch, new_run, start
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


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_pending", [1, 2, 3])
def test_no_more_snapshots_are_held_than_may_be_pending(begin, max_pending):
    run, staged, written = begin(max_pending=max_pending), [], []

    class Counted(Held):
        def snapshot(self, embedded):
            staged.append((len(staged) + 1, len(written)))
            return super().snapshot(embedded)

        def release(self):
            written.append(1)

    def let_go(snapshot):
        until(lambda: len(staged) >= min(max_pending, 4))
        time.sleep(0.02)
        snapshot.go.set()

    for number in range(1, 6):
        snapshot = Counted(run)
        threading.Thread(target=let_go, args=[snapshot]).start()
        report(run, EventKind.EPOCH_END, step=number, epoch=number, metrics={"val": 1.0}, stage=snapshot)
    run.wait()
    assert max(number - done for number, done in staged) == max_pending
    assert [r.epoch for r in run.view.records()] == [1, 2, 3, 4, 5]


def test_what_is_skipped_stays_due_and_is_said_once(begin, caplog):
    run = begin(Policy(Every(steps=10), KeepAll()), when_busy="skip")
    first = Held(run)
    report(run, EventKind.STEP_END, step=10, epoch=0, stage=first)
    for step in (20, 21, 22):
        report(run, EventKind.STEP_END, step=step, epoch=0, stage=lambda embedded: pytest.fail("was to be skipped"))
    assert caplog.text.count("skipped a save, which stays due") == 1
    first.go.set()
    run._worker.wait()
    report(run, EventKind.STEP_END, step=23, epoch=0, stage=Held(run, held=False))
    run.wait()
    assert [r.step for r in run.view.records()] == [10, 23]
    assert run.state.failures == 0 and not Manifest.read(run.dirpath).records.keys() - {1, 2}
    run.close()
    assert "skipped 3 saves in total (max_pending=1)" in caplog.text


@pytest.mark.parametrize("kind", [EventKind.END, EventKind.DEMAND])
def test_an_end_and_a_wish_are_never_skipped(begin, kind):
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


# -- what the training hears, and when ---------------------------------------------------------------------------------


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
    run._worker.wait()
    assert told == [1], "the training was told on another thread than its own"
    nothing(run, 22)
    assert seen() == ([1, 2], 2, 2, {run.view.last().file}, [1, 2])
    assert run.view.last().file != first


def test_a_record_says_when_it_was_asked_for_and_how_long_it_took(begin):
    run = begin()
    first = epoch(run, 1, held=True)
    time.sleep(0.1)
    first.go.set()
    run.wait()
    timings = run.view.last().timings
    assert timings["blocked"] < 0.1 <= timings["written"] <= timings["verified"]


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
    run._worker.wait()
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
    run._worker.wait()
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


# -- wishes and signals ------------------------------------------------------------------------------------------------


def test_a_wish_is_acknowledged_when_the_checkpoint_is_there(begin):
    run = begin()
    wish = run.dirpath / "SAVE_NOW"
    wish.touch()
    snapshot = Held(run)
    report(run, EventKind.STEP_END, step=5, epoch=0, stage=snapshot)
    nothing(run, 6)
    assert wish.exists()
    snapshot.go.set()
    run._worker.wait()
    nothing(run, 7)
    assert not wish.exists()
    assert [(r.step, r.reasons) for r in run.view.records()] == [(5, ("on demand",))]


def test_a_wish_whose_save_fails_is_not_acknowledged_and_tried_again(begin):
    run, wish, tried = begin(), None, []
    wish = run.dirpath / "SAVE_NOW"
    wish.touch()
    for step in range(5, 25):
        snapshot = Held(run, held=False, fails=2 * (len(tried) < 3))
        report(
            run,
            EventKind.STEP_END,
            step=step,
            epoch=0,
            stage=lambda embedded, s=snapshot, n=step: (tried.append(n), s.snapshot(embedded))[1],
        )
        run.wait()
        assert wish.exists() == (len(tried) < 4)
    assert tried == [5, 6, 8, 12], "with growing pauses"
    assert [r.step for r in run.view.records()] == [12]


def test_a_wish_that_comes_while_an_earlier_one_is_written_is_one_of_its_own(begin):
    run = begin(clock=(clock := FakeClock()))
    wish(run, clock)
    snapshot = Held(run)
    report(run, EventKind.STEP_END, step=5, epoch=0, stage=snapshot)
    os.utime(run.dirpath / "SAVE_NOW", ns=(1, 1))
    snapshot.go.set()
    run._worker.wait()
    nothing(run, 6)
    assert (run.dirpath / "SAVE_NOW").exists()
    clock.advance(1)
    report(run, EventKind.STEP_END, step=7, epoch=0, stage=Held(run, held=False))
    run.wait()
    assert not (run.dirpath / "SAVE_NOW").exists() and [r.step for r in run.view.records()] == [5, 7]


def test_a_disk_that_cannot_be_looked_at_for_a_wish_ends_no_training(begin, monkeypatch):
    run, stat = begin(clock=(clock := FakeClock())), os.stat

    def broken(path, **given):
        if str(path).endswith("SAVE_NOW"):
            raise OSError(5, "Input/output error")
        return stat(path, **given)

    wish(run, clock)
    monkeypatch.setattr(os, "stat", broken)
    report(run, EventKind.STEP_END, step=5, epoch=0, stage=Held(run, held=False))
    monkeypatch.undo()
    clock.advance(1)
    report(run, EventKind.STEP_END, step=6, epoch=0, stage=Held(run, held=False))
    run.wait()
    assert [r.step for r in run.view.records()] == [6]


def test_a_signal_waits_for_what_is_being_written(begin):
    run = begin(Policy(Every(epochs=1) | OnPreempt(), KeepAll()), max_pending=3)
    first = epoch(run, 1, held=True)
    threading.Timer(0.05, first.go.set).start()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        report(run, EventKind.STEP_END, step=11, epoch=1, stage=Held(run, held=False))
    assert end.value.code == 128 + signal.SIGTERM
    assert [r.step for r in Manifest.read(run.dirpath).live()] == [10, 11]
    assert not run.is_open


# -- the engine's state in a file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_fails", [False, True])
def test_a_run_goes_on_from_a_file_that_was_staged_while_an_older_one_was_written(tmp_path, begin, first_fails):
    """Killed once the second file is durable, before the training was told of either."""
    policy = Policy(Improves(VAL), KeepAll())

    def train():
        run = begin(policy, max_pending=2, clock=(clock := FakeClock()))
        first = epoch(run, 1, 3.0, held=True, fails=2 * first_fails)
        second = Held(run, held=False)
        wish(run, clock)
        report(run, EventKind.STEP_END, step=11, epoch=1, stage=second)
        first.go.set()
        run._worker.wait()
        assert 1 in run.state.pending
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(train) == signal.SIGKILL
    run = new_run(tmp_path, policy)
    run.open()
    newest = next(run.view.verified_resumable())
    assert newest.step == 11
    snapshot = json.loads(newest.path.read_text())
    assert snapshot["under_way"] == {"1": 1, "2": 2} and snapshot["save"] == 2
    run.restore(snapshot)
    assert not run.state.pending
    (tmp_path / "SAVE_NOW").unlink()  # nobody was told that it was fulfilled
    start(run, step=11, epoch=1)
    # 4.0 is worse than 3.0: it improves on what was saved only if the first save failed.
    epoch(run, 2, 4.0)
    run.close()
    assert [r.epoch for r in run.view.records()] == ([1, 2] if first_fails else [1, 1])


# -- the same decisions ------------------------------------------------------------------------------------------------

KINDS = [EventKind.STEP_END, EventKind.VALIDATION_END, EventKind.EPOCH_END]
EVENTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 9), st.booleans()), max_size=12)
POLICIES = st.sampled_from(
    [
        Policy(Every(steps=3) | Improves(VAL), KeepLast(2) | KeepBest(1, VAL)),
        Policy(Every(epochs=1) | Improves(Metric("val", mode="max", smoothing=EMA(0.5))), KeepBest(2, VAL)),
        Policy(Every(steps=2) & Improves(VAL), KeepAll()),
    ]
)


def played(dirpath, policy, events, *, fails, clock=None, **given):
    """The decisions of one training, and what it leaves."""
    run = new_run(dirpath, policy, **given, suffix=".raw", clock=clock)
    run.open()
    start(run)
    decisions, step, number = [], 0, 0
    for kind, steps, value, fault in events:
        step, number = step + steps, number + (kind is EventKind.EPOCH_END)
        metrics = {} if kind is EventKind.STEP_END else {"val": float(value)}
        stage = Held(run, held=False, fails=2 * (fault and fails))
        decisions.append(report(run, kind, step=step, epoch=number, metrics=metrics, stage=stage))
        if fails:
            run.wait()  # else it is the clock that says from which event on a failure is known
    decisions.append(report(run, EventKind.END, step=step, epoch=number, stage=Held(run, held=False)))
    run.close()
    left = [(r.id, r.step, r.epoch, r.reasons, r.metrics, r.status) for r in run.directory.manifest.records.values()]
    return decisions, left, run.state.tracks, run.state.intervals


@settings(max_examples=60, deadline=None)
@given(POLICIES, EVENTS, st.booleans(), st.integers(1, 3))
def test_the_same_decisions_in_the_background(policy, events, fails, max_pending):
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        here = played(Path(folder, "here"), policy, events, fails=fails, background=False)
        beside = played(Path(folder, "beside"), policy, events, fails=fails, max_pending=max_pending)
    assert here == beside


def test_two_threads_see_one_directory(begin, tmp_path):
    """The training's thread looks at everything while the worker writes, verifies, and deletes."""
    logging.getLogger("ckpt_callbacks").setLevel(logging.ERROR)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        run = begin(Policy(Every(steps=1) | Improves(VAL), KeepLast(2) | KeepBest(1, VAL)), max_pending=4)
        told, drawn, end = [], random.Random(1), time.monotonic() + 1.5
        run.listeners.append(lambda record: told.append(record.step))
        for step in itertools.count(1):
            kind = drawn.choice(KINDS)
            metrics = {} if kind is EventKind.STEP_END else {"val": drawn.random()}
            report(run, kind, step=step, epoch=step // 10, metrics=metrics, stage=Held(run, held=False))
            while run._worker.waiting >= 3:
                seen = run.view.records()
                assert all(r.status is Status.VERIFIED for r in seen) and len({r.id for r in seen}) == len(seen)
                assert [r.id for r in seen] == sorted(r.id for r in seen)
                plan, last = run.view.plan(), run.view.last()
                assert last is None or last.id not in {r.id for r in plan.remove}
                run.view.refresh()
            if time.monotonic() > end:
                break
        run.wait()
    finally:
        sys.setswitchinterval(before)
        logging.getLogger("ckpt_callbacks").setLevel(logging.NOTSET)
    assert told == list(range(1, step + 1))
    assert Manifest.read(tmp_path).records == run.directory.manifest.records
    assert {p.name for p in tmp_path.glob("*-*.raw")} == {r.file for r in run.view.records()}
    for record in run.view.records():
        verify(record)
