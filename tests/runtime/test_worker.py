"""The background worker: the order of its jobs, and its end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ckpt_callbacks.runtime.worker import BackgroundWorker
from tests.support.waiting import until


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


def test_a_job_that_raises_is_logged_and_later_jobs_still_run(caplog):
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
    """The garbage collector runs finalizers on whichever thread it runs on."""
    worker, done = BackgroundWorker(), []
    worker.submit(lambda: (worker.close(), done.append(1)))
    until(lambda: done)
