"""Signals in the processes that a training run starts with `multiprocessing`."""

import multiprocessing
import signal
import subprocess
import sys

import pytest

from ckpt_callbacks.runtime.signals import SignalWatch


def tell(pipe, trains):
    if trains:
        SignalWatch(30, lambda: pipe.send("got it")).install()
    pipe.send("ready")
    signal.sigtimedwait([], 30)


def signal_from_elsewhere(pid, number):
    subprocess.run([sys.executable, "-c", f"import os; os.kill({pid}, {int(number)})"], check=True)


@pytest.fixture
def start():
    watch, started = SignalWatch(30, lambda: None), []
    watch.shield_children()

    def starts(method, trains=False):
        context = multiprocessing.get_context(method)
        here, there = context.Pipe()
        process = context.Process(target=tell, args=(there, trains))
        process.start()
        started.append(process)
        assert here.poll(20) and here.recv() == "ready"
        return process, here

    yield starts
    watch.remove()
    for process in started:
        process.kill()
        process.join()


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=pytest.mark.slow)])
def test_a_process_ignores_the_signals_of_others_and_obeys_its_parent(start, method):
    process, _ = start(method)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal_from_elsewhere(process.pid, number)
    process.join(0.3)
    assert process.is_alive()
    process.terminate()
    process.join(10)
    assert process.exitcode == -signal.SIGTERM


@pytest.mark.slow
def test_a_process_that_trains_gets_its_signals(start):
    process, pipe = start("spawn", trains=True)
    signal_from_elsewhere(process.pid, signal.SIGTERM)
    assert pipe.poll(10) and pipe.recv() == "got it"


@pytest.mark.slow
def test_a_mask_that_the_script_chose_stays():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    watch = SignalWatch(30, lambda: None)
    try:
        watch.install()
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        watch.remove()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
