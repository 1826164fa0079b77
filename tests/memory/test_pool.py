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


class Endless(Arena):
    """An arena that is warm only when somebody wants it."""

    def touch(self, go_on):
        while go_on():
            self.touching.set()

    def __init__(self):
        super().__init__()
        self.touching = threading.Event()


def preparing(size=PAGE):
    """Return a pool that is preparing an arena, and that arena."""
    made = []
    pool = ArenaPool(lambda: made.append(Endless()) or made[-1])
    pool.prepare(size)
    assert made[0].touching.wait(20)
    return pool, made[0]


def test_an_arena_that_is_being_prepared_is_taken_as_far_as_it_is_and_left_alone():
    pool, arena = preparing()
    assert pool.take() is arena and arena.size >= PAGE
    arena.touching.clear()
    other = pool.take()  # for a second snapshot that waits to be written
    assert other is not arena and other.size == 0
    assert not arena.touching.is_set() and not [t for t in threading.enumerate() if t.name == "ckpt_memory"]
    pool.prepare(3 * PAGE)
    pool.prepare(2 * PAGE)  # instead
    assert pool.take().size >= 3 * PAGE


def test_what_is_copied_into_memory_that_is_half_prepared_stays_there():
    pool, size = ArenaPool(Arena), 64 << 20
    for _ in range(5):
        pool.prepare(size)
        arena = pool.take()
        (piece,) = arena.carve([size])
        piece[:] = b"a" * size
        assert piece.tobytes().count(b"a") == size
        del piece
        arena.release()
        pool.give_back(arena)


def test_without_another_thread_an_arena_is_prepared_by_whoever_takes_it(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(RuntimeError("no more")))
    pool = ArenaPool(Arena)
    pool.prepare(PAGE)
    assert len(pool.take().carve([PAGE])[0]) == PAGE


def test_memory_that_is_being_prepared_is_released_too():
    pool, arena = preparing()
    thread = next(thread for thread in threading.enumerate() if thread.name == "ckpt_memory")
    pool.release()
    thread.join(20)
    assert not thread.is_alive() and arena.size == 0


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
