"""Memory for snapshots."""

import ctypes
import os
import sys

import pytest

from ckpt_callbacks.errors import NotEnoughMemory
from ckpt_callbacks.memory import arena
from ckpt_callbacks.memory.arena import Arena
from ckpt_callbacks.memory.pages import HUGE, PAGE


def address(piece):
    return ctypes.addressof(ctypes.c_char.from_buffer(piece))


def test_pieces_begin_on_pages_and_do_not_overlap():
    sizes = [1, PAGE, PAGE + 1, 5, 3 * PAGE]
    pieces = Arena().carve(sizes)
    assert [len(piece) for piece in pieces] == sizes
    assert all(address(piece) % PAGE == 0 for piece in pieces)
    for number, piece in enumerate(pieces):
        piece[:] = bytes([number]) * len(piece)
    assert all(set(piece) == {number} for number, piece in enumerate(pieces))


def test_memory_is_used_again_and_grows_when_it_must():
    memory = Arena()
    first = address(memory.carve([PAGE])[0])
    assert address(memory.carve([2 * PAGE])[0]) == first
    held = memory.size
    assert len(memory.carve([held + 1])[0]) == held + 1 and memory.size > held
    memory.release()
    assert memory.size == 0


def test_memory_is_touched_from_the_front_until_somebody_wants_it():
    memory, asked = Arena(), []
    memory.touch(lambda: True)  # there is none yet
    memory.reserve(5 * HUGE)
    piece = memoryview(memory._memory)  # `carve` would say that the caller touches it
    piece[:] = b"a" * len(piece)
    memory.touch(lambda: len(asked) < 2 and not asked.append(1))
    assert bytes(piece) == bytes(2 * HUGE) + b"a" * 3 * HUGE
    memory.touch(lambda: True)
    assert bytes(piece) == bytes(5 * HUGE)
    piece[:] = b"a" * len(piece)
    memory.touch(lambda: True)  # it is warm
    assert bytes(piece) == b"a" * 5 * HUGE


def test_nothing_and_pieces_of_no_size():
    assert Arena().carve([]) == [] and [len(piece) for piece in Arena().carve([0, 7, 0])] == [0, 7, 0]


def test_too_little_memory(monkeypatch):
    monkeypatch.setattr(arena, "available_memory", lambda: 300 << 20)
    memory = Arena()
    memory.reserve(10 << 20)
    with pytest.raises(NotEnoughMemory, match=r"needs 100 MiB of memory, and 300 MiB are available"):
        memory.reserve(100 << 20)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no other system has this advice")
def test_a_fork_finds_zeros_and_its_parent_what_it_put_there():
    memory = Arena()
    piece, last = memory.carve([3 << 20, PAGE])
    piece[:], last[:] = b"a" * len(piece), b"b" * len(last)
    child = os.fork()
    if child == 0:
        os._exit(0 if bytes(piece) == bytes(len(piece)) and bytes(last) == bytes(PAGE) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert bytes(piece) == b"a" * len(piece) and bytes(last) == b"b" * PAGE


def test_memory_that_was_carved_is_not_erased():
    arena = Arena()
    arena.reserve(1 << 20)
    arena.carve([3])[0][:] = b"abc"
    arena.touch(lambda: True)
    assert arena.carve([3])[0] == b"abc"
