"""Events that a run cannot prevent: an interrupt, a logger that raises, the garbage collector, a thread limit."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ckpt_callbacks import EventKind, Every, KeepAll, OnException, OnPreempt, Policy, PolicyError
from ckpt_callbacks.formats import FORMATS, Format
from ckpt_callbacks.run.snapshot import LiveSnapshot
from ckpt_callbacks.runtime.processes import Processes
from ckpt_callbacks.runtime.signals import PROCESS, SignalWatch
from ckpt_callbacks.settings import Settings
from tests.run.background import EACH, Held, epoch
from tests.support.training import new_run, report, saver_of, start, worker_of, written
from tests.support.waiting import until


def started(dirpath, policy=EACH, **settings):
    run = new_run(dirpath, policy, **settings)
    run.open()
    start(run)
    return run


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["waiting for the last one", "copying", "writing"])
def test_a_save_that_is_interrupted_is_known_to_be_none(tmp_path, where, caplog):
    """Training continues in the same process, as in a notebook."""
    run = started(tmp_path, Policy(Every(epochs=1) | OnException(), KeepAll()), background=where != "writing")
    stage = interrupt
    if where == "waiting for the last one":
        first = epoch(run, 1, held=True)
        stage, worker_of(run).wait = Held(run), interrupt
    elif where == "writing":
        stage = lambda embedded: LiveSnapshot(interrupt)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        report(run, EventKind.EPOCH_END, step=20, epoch=2, complete=True, stage=stage)
    if where == "waiting for the last one":
        del worker_of(run).wait
        first.go.set()
    report(run, EventKind.EXCEPTION, step=20, epoch=2, stage=Held(run, held=False))
    assert not run.state.pending and not saver_of(run)._unwritten
    assert [r.step for r in run.view.records()][-1] == 20
    assert "skipped a save, which stays due" in caplog.text and "interrupted" in caplog.text
    epoch(run, 3)
    run.close()
    assert [r.step for r in run.view.records()][-1] == 30


def test_all_listeners_are_called_with_all_records_when_one_raises_at_the_first(tmp_path, caplog):
    run, heard = started(tmp_path, max_pending=2), []
    held = [epoch(run, number, held=True) for number in (1, 2)]
    for one in held:
        one.go.set()
    until(lambda: len(saver_of(run).finished) == 2)
    run.listeners += [lambda record: 1 / 0, lambda record: heard.append(record.epoch)]
    report(run, EventKind.STEP_END, step=21, epoch=2)
    assert not run.state.pending and heard == [1, 2]
    assert caplog.text.count("a listener failed") == 2
    run.close()


def test_a_directory_is_given_back_when_a_listener_is_interrupted_at_the_end(tmp_path):
    run = started(tmp_path)
    written = epoch(run, 1, held=True)  # otherwise, its outcome may be delivered at once
    run.listeners.append(interrupt)
    written.go.set()
    with pytest.raises(KeyboardInterrupt):
        run.close()
    started(tmp_path).close()


def test_a_last_state_that_cannot_be_compared_is_kept(tmp_path, caplog, monkeypatch):
    unknown = Format(".raw", lambda path: None, lambda path, shapes: None, lambda one, other: 1 / 0)
    monkeypatch.setitem(FORMATS, ".raw", unknown)
    run = started(tmp_path)
    epoch(run, 1)
    report(run, EventKind.END, step=10, epoch=1, stage=Held(run, held=False))
    run.close()
    assert [(r.step, r.final, r.resumable) for r in run.view.records()] == [(10, False, True), (10, True, False)]
    assert "could not be compared with model-001-10.raw: division by zero" in caplog.text


def test_one_of_several_processes_waits_alone(tmp_path):
    class Two(Processes):
        is_single, shared = False, 0

        def broadcast(self, value):
            Two.shared += 1
            return value

    run = started(tmp_path)
    held = epoch(run, 1, held=True)
    run.processes = Two()
    held.go.set()
    run.wait()
    assert Two.shared == 0, "the others do not answer"
    assert worker_of(run).waiting == 0 and run.view.last().step == 10
    run.processes = Processes()
    run.close()


def test_a_failed_save_is_retried_at_a_step_after_the_one_at_which_it_is_known(tmp_path):
    run = started(tmp_path)
    held = epoch(run, 1, held=True, fails=9)
    held.go.set()
    written(run)
    report(run, EventKind.STEP_END, step=500, epoch=1, stage=Held(run, held=False))
    assert run.state.retry_step > 500
    run.close()


def test_a_handler_that_only_the_main_thread_can_remove_passes_on(caplog):
    """The garbage collector may end a training run on any thread."""
    heard, before = [], signal.signal(signal.SIGUSR1, lambda *_: heard.append("before"))
    interrupts = SignalWatch(30, lambda: heard.append("ours"), [signal.SIGUSR1])
    try:
        interrupts.install()
        thread = threading.Thread(target=interrupts.remove)
        thread.start()
        thread.join()
        signal.raise_signal(signal.SIGUSR1)
        assert heard == ["before"] and interrupts.pending is None
        assert signal.getsignal(signal.SIGUSR1) != PROCESS.handle
        interrupts.install()
        signal.raise_signal(signal.SIGUSR1)
        assert heard == ["before", "ours", "before"]
    finally:
        interrupts.remove()
        PROCESS.forget()
        signal.signal(signal.SIGUSR1, before)


def in_a_thread(train):
    thread = threading.Thread(target=train, name="job")
    thread.start()
    thread.join()


def in_a_pool(train):
    with ThreadPoolExecutor(1, thread_name_prefix="job") as pool:
        pool.submit(train).result()


def by_a_timer(train):
    timer = threading.Timer(0, train)
    timer.name = "job"
    timer.start()
    timer.join()


@pytest.mark.parametrize("start, save, lines", [
    (in_a_thread, OnPreempt(), 1), (in_a_pool, EACH.save | OnPreempt(), 1), (by_a_timer, OnPreempt(), 1),
    (in_a_thread, EACH.save, 0),
])  # fmt: skip
def test_a_run_outside_the_main_thread_says_that_it_gets_no_signals(tmp_path, caplog, start, save, lines):
    def train():
        run = started(tmp_path, Policy(save, KeepAll()))
        epoch(run, 1)
        run.close()

    start(train)
    assert caplog.text.count("OnPreempt will not save: training runs in the thread 'job") == lines
    caplog.clear()
    train()
    assert "OnPreempt" not in caplog.text


@pytest.fixture
def no_threads(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_run_that_cannot_start_a_thread_waits_for_its_saves_and_checks_each_step(tmp_path, no_threads, caplog):
    run = started(tmp_path, Policy(Every(epochs=1) | Every(hours=1), KeepAll()))
    for number in (1, 2, 3):
        epoch(run, number)
        run.close_gate()
        assert run.gate.alarm
    assert [r.step for r in run.view.records()] == [10, 20, 30]
    run.close()
    assert caplog.text.count("cannot start a background thread; saving synchronously: can't start new thread") == 1


def test_a_signal_is_answered_if_no_thread_can_enforce_the_grace_period(no_threads):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    interrupts = SignalWatch(30, lambda: None, [signal.SIGUSR1])
    try:
        interrupts.install()
        signal.raise_signal(signal.SIGUSR1)
        assert interrupts.pending is signal.SIGUSR1
    finally:
        interrupts.remove()
        PROCESS.forget()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("value", ["False", "maybe", 0, None])
def test_background_is_true_or_false(tmp_path, value):
    with pytest.raises(PolicyError, match=f"Settings: background is {value!r}; expected True or False"):
        Settings(tmp_path, background=value)
