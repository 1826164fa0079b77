"""The processes that training starts with `multiprocessing`, such as the workers that load its data.

A signal to the process group, as from Ctrl-C, SLURM and many shells, also reaches them. If they died of it, the batch
that training waits for would never come, and nothing could be saved.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import threading
from collections.abc import Collection
from types import FrameType
from typing import Any

_NAME = "ckpt_callbacks"
_SORTS = "ckpt_callbacks signals"  # the name of the thread in a covered process
_LOOK_EVERY = 0.5  # seconds between checks that the parent still runs, after a signal


class Shield:
    """While it is up, processes that this one starts with `multiprocessing` ignore signals that are not from it.

    `Process.terminate` works as before, and a process whose parent ends after such a signal ends as well.

    Args:
        signals: What they ignore.
    """

    def __init__(self, signals: Collection[int]) -> None:
        self._signals = tuple(int(number) for number in signals)
        multiprocessing.util.register_after_fork(self, Shield._cover_fork)  # of which only a weak reference is kept

    def put_up(self) -> None:
        """Put the shield up."""
        _config()[_NAME] = self  # copied to each process; one that is spawned unpickles it

    def take_down(self) -> None:
        """Take the shield down for processes that start from now on."""
        _config().pop(_NAME, None)

    def _cover_fork(self) -> None:
        if _config().get(_NAME) is self:
            _cover(self._signals)

    def __reduce__(self) -> tuple[Any, ...]:
        return _cover, (self._signals,)


def uncover(signals: Collection[int]) -> None:
    """Receive the signals in this thread if this process is a covered one, which begins a training run of its own."""
    if any(thread.name == _SORTS for thread in threading.enumerate()):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def hold_back_losses() -> None:
    """Prevent torch from raising an exception at an arbitrary point of the main thread when a data process dies.

    It may be in the middle of an update or of a save. If it waits for that data, the exception comes as before.
    """
    report = signal.getsignal(signal.SIGCHLD)
    if callable(report):
        signal.signal(signal.SIGCHLD, lambda number, frame: _awaits_data(frame) and report(number, frame))


def _awaits_data(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "_next_data":  # of torch's DataLoader
            return True
        frame = frame.f_back
    return False


def _cover(signals: Collection[int]) -> None:
    """Ignore the signals in this process, which has just started."""
    if not hasattr(signal, "sigtimedwait"):  # macOS cannot tell who sent a signal
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    thread = threading.Thread(target=_sort, args=(signals, os.getppid()), name=_SORTS, daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread can be started, so nothing is delivered
        thread.start()


def _sort(signals: Collection[int], parent: int) -> None:
    """Deliver the signals that the parent sends to this process; drop others."""
    ended = 0
    while True:
        found = signal.sigtimedwait(signals, _LOOK_EVERY) if ended else signal.sigwaitinfo(signals)
        if found is None:
            if os.getppid() != parent:
                os._exit(128 + ended)
        elif found.si_pid == parent:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [found.si_signo])
            signal.raise_signal(found.si_signo)
            signal.pthread_sigmask(signal.SIG_BLOCK, [found.si_signo])
        else:
            ended = found.si_signo


def _config() -> dict[str, Any]:
    return multiprocessing.current_process()._config  # type: ignore[attr-defined, no-any-return]
