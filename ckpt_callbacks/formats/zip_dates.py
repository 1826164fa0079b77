"""The dates that a zip archive can hold: 1980 to 2107. A board without a battery starts in 1970."""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
_lock = threading.RLock()


def zip_date(seconds: float | None = None) -> tuple[int, ...]:
    """Return the local time as year, month, day, hour, minute and second, or the nearest one that an archive can hold.

    Args:
        seconds: UTC seconds since 1970; now by default.
    """
    return min(max(_local(seconds), _FIRST), _LAST)


@contextmanager
def any_date() -> Iterator[None]:
    """Let zipfile, which Keras writes its archives with, work whatever the clock shows."""
    if _FIRST <= _local() <= _LAST:
        yield
        return
    with _lock:
        own = zipfile.time  # type: ignore[attr-defined]
        zipfile.time = SimpleNamespace(time=time.time, localtime=zip_date)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            zipfile.time = own  # type: ignore[attr-defined]


def _local(seconds: float | None = None) -> tuple[int, ...]:
    return tuple(time.localtime(time.time() if seconds is None else seconds)[:6])
