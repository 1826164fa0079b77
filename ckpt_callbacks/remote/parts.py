"""The parts of an upload, sent by several threads, or one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .upload import Upload

_HELD = 80 << 20  # bytes of parts that are in memory at a time


def send_parts(upload: Upload, numbers: Sequence[int], send: Callable[[int, bytes], object]) -> None:
    """Send parts of a file, several at a time, and return when all of them have arrived.

    After a failure, no further part is begun, those that are on their way are waited for, and the failure is raised.

    Args:
        upload: The file, and how many threads send it.
        numbers: The parts, in the order in which they are begun.
        send: Sends one part; it is called on several threads with the number and the bytes.
    """
    waiting, lock, failures = iter(numbers), threading.Lock(), list[BaseException]()

    def work() -> None:
        while not failures:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            try:
                upload.before(upload.length(number))
                data = upload.bytes_of(number)
                send(number, data)
                del data  # before the next one is read
                upload.progress(upload.length(number))
            except BaseException as error:
                failures.append(error)

    # Daemons: a store that hangs must not keep the process from ending, as the threads of an executor do.
    count = min(upload.threads, len(numbers), max(1, _HELD // upload.part))
    others = [threading.Thread(target=work, daemon=True) for _ in range(count - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]


class Pieces:
    """The parts of a file in their order, for engines that send what an iterator gives them.

    An engine may raise an exception of its own instead of the one that ended them; see `sending`.
    """

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._failure: BaseException | None = None

    def of(self, first: int = 0) -> Iterator[bytes]:
        """Yield the parts.

        Args:
            first: The first one; they are counted from 0.
        """
        try:
            for number in range(first, self._upload.count):
                self._upload.before(self._upload.length(number))
                yield self._upload.bytes_of(number)
                self._upload.progress(self._upload.length(number))
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failure = error
            raise

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Raise the exception that ended the parts instead of what an engine makes of it."""
        try:
            yield
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise
