"""Save requests and signals while a save is written."""

import os
import signal
import threading

import pytest

from ckpt_callbacks import (
    EventKind,
    Every,
    KeepAll,
    KeepLast,
    OnPreempt,
    Policy,
)
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.run.background import Held, epoch, nothing, wish
from tests.support.command import ckpt
from tests.support.training import report, written


def wish_by_the_command(run, clock):
    assert ckpt("save", run.dirpath).exit_code == 0
    clock.advance(1)


@pytest.mark.parametrize("ask", [wish, wish_by_the_command])
@pytest.mark.parametrize("kind", [EventKind.STEP_END, EventKind.EPOCH_END, EventKind.VALIDATION_END])
def test_what_somebody_asked_for_outlives_retention(begin, ask, kind):
    run = begin(Policy(Every(epochs=1), KeepLast(1)), clock=(clock := FakeClock()))
    ask(run, clock)
    epoch(run, 1, kind=kind)
    for number in (2, 3, 4):
        run.wait()
        epoch(run, number)
    run.wait()
    assert [record.step for record in run.view.records()] == [10, 40]
    assert all(record.path.exists() for record in run.view.records())


def test_a_request_is_acknowledged_when_the_checkpoint_exists(begin):
    run = begin()
    wish = run.dirpath / "SAVE_NOW"
    wish.touch()
    snapshot = Held(run)
    report(run, EventKind.STEP_END, step=5, epoch=0, stage=snapshot)
    nothing(run, 6)
    assert wish.exists()
    snapshot.go.set()
    written(run)
    nothing(run, 7)
    assert not wish.exists()
    assert [(r.step, r.reasons) for r in run.view.records()] == [(5, ("on demand",))]


def test_a_request_whose_save_fails_is_not_acknowledged_but_retried(begin):
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


def test_a_request_during_the_save_of_an_earlier_one_is_a_separate_request(begin):
    run = begin(clock=(clock := FakeClock()))
    wish(run, clock)
    snapshot = Held(run)
    report(run, EventKind.STEP_END, step=5, epoch=0, stage=snapshot)
    os.utime(run.dirpath / "SAVE_NOW", ns=(1, 1))
    snapshot.go.set()
    written(run)
    nothing(run, 6)
    assert (run.dirpath / "SAVE_NOW").exists()
    clock.advance(1)
    report(run, EventKind.STEP_END, step=7, epoch=0, stage=Held(run, held=False))
    run.wait()
    assert not (run.dirpath / "SAVE_NOW").exists() and [r.step for r in run.view.records()] == [5, 7]


@pytest.mark.parametrize("kind", ["a folder", "a full folder", "somebody else's file", "a mount point"])
def test_a_request_that_cannot_be_removed_is_answered_once_each_time_it_is_touched(
    begin, monkeypatch, undeletable, caplog, kind
):
    run = begin(clock=(clock := FakeClock()))
    path = run.dirpath / "SAVE_NOW"
    if kind == "somebody else's file":
        path.touch()

        unlink = type(path).unlink

        def refused(path, missing_ok=False):
            if path.name == "SAVE_NOW":
                raise PermissionError(1, "Operation not permitted")
            unlink(path, missing_ok)

        monkeypatch.setattr(type(path), "unlink", refused)
    elif kind == "a mount point":
        path.touch()
        undeletable[0](path, "mount")
    else:
        (path if kind == "a folder" else path / "within").mkdir(parents=True)
    for step in range(5, 25):
        if step == 15:
            os.utime(path, ns=(1, 1))
        clock.advance(1)
        report(run, EventKind.STEP_END, step=step, epoch=0, stage=Held(run, held=False))
        run.wait()
    monkeypatch.undo()
    assert path.exists() and [r.step for r in run.view.records()] == [5, 15]
    [line] = [message for message in caplog.messages if "cannot be removed" in message]
    assert line.endswith("so it stays; touch it to request another save")


def test_a_disk_that_cannot_be_checked_for_requests_does_not_end_training(begin, monkeypatch):
    run, stat = begin(clock=(clock := FakeClock())), os.lstat

    def broken(path, **given):
        if str(path).endswith("SAVE_NOW"):
            raise OSError(5, "Input/output error")
        return stat(path, **given)

    wish(run, clock)
    monkeypatch.setattr(os, "lstat", broken)
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
