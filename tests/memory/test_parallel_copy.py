"""Copies, which are complete and correct no matter how many threads share them."""

import ctypes
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.memory import parallel_copy as copying
from ckpt_callbacks.memory.pages import PAGE, allocate
from ckpt_callbacks.memory.parallel_copy import copy_memory, populate


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(params=[True, False], ids=["threads", "no threads"], autouse=True, scope="module")
def threads(request):
    """Few bytes are enough for threads here, and pieces are small; or none can be started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_CHUNK", 100)
        patch.setattr(copying, "_ALONE", 200)
        patch.setattr(copying, "_cores", lambda: 4)
        if not request.param:
            patch.setattr(
                copying._thread, "start_new_thread", lambda *_: (_ for _ in ()).throw(RuntimeError("no more"))
            )
        yield


@given(st.lists(st.integers(0, 2000), max_size=12), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_every_byte_arrives_and_no_other_is_touched(sizes, offset):
    sources = [np.frombuffer(os.urandom(size), np.uint8) for size in sizes]
    places = [np.full(size + 16, 7, np.uint8) for size in sizes]
    copy_memory([(address(p) + offset, address(s), s.nbytes) for p, s in zip(places, sources, strict=True)])
    for place, source in zip(places, sources, strict=True):
        assert (place[offset : offset + len(source)] == source).all()
        assert (place[:offset] == 7).all() and (place[offset + len(source) :] == 7).all()


def test_populated_pages_keep_their_content():
    memory = allocate(20 * PAGE)
    memory[5 * PAGE : 6 * PAGE] = b"a" * PAGE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_CHUNK", PAGE)
        populate(ctypes.addressof(ctypes.c_char.from_buffer(memory)), len(memory))
    assert bytes(memory) == bytes(5 * PAGE) + b"a" * PAGE + bytes(14 * PAGE)


def test_nothing_is_copied_any_more_when_it_returns_or_raises(monkeypatch):
    """From then on, the source may change, and the target may be used for something else."""
    memmove, main, begun, ended = copying.ctypes.memmove, threading.get_ident(), [], []

    def slow(*piece):
        if threading.get_ident() == main:
            raise KeyboardInterrupt
        begun.append(piece)
        threading.Event().wait(0.01)
        memmove(*piece)
        ended.append(piece)

    monkeypatch.setattr(copying.ctypes, "memmove", slow)
    source, place = np.ones(5000, np.uint8), np.zeros(5000, np.uint8)
    with pytest.raises(KeyboardInterrupt):
        copy_memory([(address(place), address(source), 5000)])
    done = place.copy()
    threading.Event().wait(0.05)
    assert (place == done).all() and sorted(begun) == sorted(ended)


def test_a_thread_that_begins_late_is_not_waited_for_and_copies_nothing(monkeypatch):
    late = []
    monkeypatch.setattr(copying._thread, "start_new_thread", lambda work, arguments: late.append(work))
    source, place = np.ones(5000, np.uint8), np.zeros(5000, np.uint8)
    copy_memory([(address(place), address(source), 5000)])
    assert place.all() and len(late) == 3
    place[:] = 0
    for work in late:
        work()
    assert not place.any()
