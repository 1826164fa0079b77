"""Work on the parts of a large object, several at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class _Result(Generic[_T]):
    """The result of one part, once it is there."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: _T | None = None
        self.error: BaseException | None = None


def in_parallel(work: Callable[[int], _T], numbers: Iterable[int], threads: int) -> Iterator[_T]:
    """Yield ``work(number)`` for each number, in their order, while up to ``threads`` of them are under way.

    No more than that many results wait in memory. If one fails, or the caller stops, no other is begun. The threads do
    not keep the process alive, as those of `concurrent.futures` would while a store hangs.

    Args:
        work: Is called on several threads at once.
        numbers: The parts.
        threads: How many at a time.
    """
    ordered: list[tuple[int, _Result[_T]]] = [(number, _Result()) for number in numbers]
    room, stop = threading.Semaphore(max(1, threads)), threading.Event()
    waiting: queue.SimpleQueue[tuple[int, _Result[_T]]] = queue.SimpleQueue()
    for one in ordered:
        waiting.put(one)

    def carry_out() -> None:
        while True:
            room.acquire()
            try:
                number, result = waiting.get_nowait()
            except queue.Empty:
                room.release()
                return
            if stop.is_set():
                room.release()
                return
            try:
                result.value = work(number)
            except BaseException as error:
                result.error = error
                stop.set()
                room.release()
            result.done.set()

    for _ in range(min(max(1, threads), len(ordered))):
        threading.Thread(target=carry_out, name="ckpt_callbacks-parts", daemon=True).start()
    try:
        for _, result in ordered:
            _await(result, ordered, stop)
            if result.error is not None:
                raise result.error
            value, result.value = result.value, None
            room.release()
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        for _ in range(max(1, threads)):  # those that wait for room end
            room.release()


def _await(result: _Result[_T], ordered: list[tuple[int, _Result[_T]]], stop: threading.Event) -> None:
    """Wait for a result, or raise the error that keeps it from being begun."""
    while not result.done.wait(0.1):
        if stop.is_set():
            for _, other in ordered:
                if other.error is not None and not result.done.wait(0.1):
                    raise other.error
