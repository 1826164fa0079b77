"""Arenas, which are reused, never by two users at once, and released at the end."""

import threading

from ckpt_callbacks.memory import arena
from ckpt_callbacks.memory.arena import Arena
from ckpt_callbacks.memory.pages import PAGE
from ckpt_callbacks.memory.pool import ArenaPool


def test_an_arena_that_is_given_back_is_the_next_one_taken():
    pool = ArenaPool(Arena)
    first = pool.take()
    assert pool.take() is not first
    pool.give_back(first)
    assert pool.take() is first


def test_what_was_prepared_is_taken():
    pool = ArenaPool(Arena)
    pool.prepare(3 * PAGE)
    pool.prepare(PAGE)
    taken = pool.take()
    assert taken.size >= 3 * PAGE and pool.take().size == 0


def test_taking_an_arena_waits_for_one_that_is_being_prepared():
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Arena):
        def reserve(self, size):
            begun.set()
            assert go_on.wait(20)
            super().reserve(size)

    pool, taken = ArenaPool(Slow), []
    threads = [threading.Thread(target=pool.prepare, args=(PAGE,))]
    threads.append(threading.Thread(target=lambda: taken.append(pool.take())))
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    threads[1].join(0.1)
    assert not taken
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert taken[0].size >= PAGE


def test_too_little_memory_is_reported_by_the_save_that_takes_it(monkeypatch):
    monkeypatch.setattr(arena, "available_memory", lambda: 0)
    pool = ArenaPool(Arena)
    pool.prepare(PAGE)
    assert pool.take().size == 0


def test_released_are_those_that_are_free_and_those_that_come_back_later():
    pool = ArenaPool(Arena)
    taken, other = pool.take(), pool.take()
    for one in (taken, other):
        one.reserve(PAGE)
    pool.give_back(other)
    pool.release()
    assert other.size == 0 and taken.size >= PAGE
    pool.give_back(taken)
    assert taken.size == 0
    again = pool.take()
    again.reserve(PAGE)
    pool.give_back(again)
    assert pool.take() is again and again.size >= PAGE
