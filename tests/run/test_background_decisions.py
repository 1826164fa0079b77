"""Decisions in the background, which are the same as in the foreground."""

import itertools
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks import (
    EMA,
    EventKind,
    Every,
    Improves,
    KeepAll,
    KeepBest,
    KeepLast,
    Metric,
    Policy,
    Status,
)
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.run.background import VAL, Held, epoch, wish
from tests.support.training import new_run, report, start, worker_of, written
from tests.system.faults.inject import in_child


@pytest.mark.parametrize("first_fails", [False, True])
def test_a_run_resumes_from_a_file_that_was_staged_while_an_older_one_was_written(tmp_path, begin, first_fails):
    """The process is killed once the second file is durable, before training received either outcome."""
    policy = Policy(Improves(VAL), KeepAll())

    def train():
        run = begin(policy, max_pending=2, clock=(clock := FakeClock()))
        first = epoch(run, 1, 3.0, held=True, fails=2 * first_fails)
        second = Held(run, held=False)
        wish(run, clock)
        report(run, EventKind.STEP_END, step=11, epoch=1, stage=second)
        first.go.set()
        written(run)
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
    (tmp_path / "SAVE_NOW").unlink()  # it was not acknowledged before the kill
    start(run, step=11, epoch=1)
    # 4.0 is worse than 3.0: it improves on what was saved only if the first save failed.
    epoch(run, 2, 4.0)
    run.close()
    assert [r.epoch for r in run.view.records()] == ([1, 2] if first_fails else [1, 1])


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
    """The decisions of one training run, and what it leaves on disk."""
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
            run.wait()  # otherwise, timing decides at which event a failure becomes known
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
    """The training thread reads everything while the worker writes, verifies and deletes."""
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
            while worker_of(run).waiting >= 3:
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
