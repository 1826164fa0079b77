"""The pauses of a background thread: as long as its work was, and over when somebody waits."""

import threading
import time

from ckpt_callbacks.runtime.pauses import Pauses


def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def elapsed(pauses, go_on=lambda: True):
    begin = time.monotonic()
    with pauses.after(go_on):
        work(0.02)
    return time.monotonic() - begin


def test_a_pause_follows_the_processor_time_of_the_work():
    assert elapsed(Pauses(10)) >= 0.22
    begin = time.monotonic()
    with Pauses(1000).after(lambda: True):
        time.sleep(0.02)  # takes next to no processor time
    assert time.monotonic() - begin < 15


def test_no_pause_while_somebody_waits_or_the_thread_has_to_stop():
    pauses = Pauses(1e6)
    with pauses.skipped():
        elapsed(pauses)
    elapsed(pauses, lambda: False)


def test_a_pause_ends_when_somebody_begins_to_wait():
    pauses = Pauses(1e6)
    thread = threading.Thread(target=elapsed, args=(pauses,))
    thread.start()
    with pauses.skipped():
        thread.join(30)
        assert not thread.is_alive()
