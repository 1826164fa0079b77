"""Work on parts, several at a time."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.remote.parallel import in_parallel
from ckpt_callbacks.remote.rate import RateLimit


class Counted:
    """Work that counts how many parts are under way or wait to be taken."""

    def __init__(self, fails_at=None):
        self.begun, self.fails_at, self._lock = [], fails_at, threading.Lock()

    def __call__(self, number):
        with self._lock:
            self.begun.append(number)
        if number == self.fails_at:
            raise OSError(f"part {number}")
        return number * 10


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 8))
def test_results_come_in_order(count, threads):
    assert list(in_parallel(Counted(), range(count), threads)) == [number * 10 for number in range(count)]


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.data())
def test_the_error_of_a_part_ends_the_work(count, threads, data):
    fails_at = data.draw(st.integers(0, count - 1))
    work, found = Counted(fails_at), []
    with pytest.raises(OSError, match=f"part {fails_at}"):
        for value in in_parallel(work, range(count), threads):
            found.append(value)
    assert found == [number * 10 for number in range(len(found))] and len(found) <= fails_at
    assert len(work.begun) <= fails_at + threads + 1


def test_no_more_results_wait_than_there_are_threads():
    work = Counted()
    results = in_parallel(work, range(100), 3)
    for number in range(5):
        next(results)
        time.sleep(0.05)
        assert len(work.begun) <= number + 1 + 3
    results.close()
    time.sleep(0.05)
    assert len(work.begun) <= 8


def test_a_part_that_hangs_keeps_no_process_alive():
    hang = threading.Event()
    results = in_parallel(lambda number: hang.wait(60), range(2), 2)
    thread = threading.Thread(target=lambda: list(results), daemon=True)
    thread.start()
    time.sleep(0.05)
    ours = [one for one in threading.enumerate() if one.name == "ckpt_callbacks-parts"]
    assert ours and all(one.daemon for one in ours)
    hang.set()
    thread.join(30)
    assert not thread.is_alive()


def test_bytes_are_spread_over_time():
    limit = RateLimit(1000, lambda: None)
    begin = time.monotonic()
    for _ in range(3):
        limit.wait(100)
    assert 0.19 < time.monotonic() - begin < 20


def test_a_wait_for_the_rate_can_be_ended():
    calls = []

    def go_on():
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("ended")

    limit = RateLimit(1, go_on)
    limit.wait(1000)
    with pytest.raises(KeyError):
        limit.wait(1000)
