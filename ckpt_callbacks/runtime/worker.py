"""The worker that carries out saves: a background thread, or the training thread itself."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("ckpt_callbacks")
_THREAD = "ckpt_callbacks"  # the prefix of the thread's name


class Worker(Protocol):
    """Carries out jobs in the order of their submission. A job reports its own outcome and does not raise."""

    @property
    def waiting(self) -> int:
        """Number of jobs that are not done."""

    def submit(self, job: Callable[[], None], *, here: bool = False) -> None:
        """Accept a job. With ``here``, run it on the caller's thread after all earlier ones."""

    def wait(self, at_most: int = 0) -> None:
        """Wait until at most ``at_most`` jobs are unfinished."""

    def close(self) -> None:
        """Finish all jobs. Later ones are still accepted."""


class InlineWorker:
    """Runs each job at once, on the caller's thread."""

    waiting = 0

    def submit(self, job: Callable[[], None], *, here: bool = False) -> None:
        job()

    def wait(self, at_most: int = 0) -> None:
        """Return at once: no job is ever pending."""

    close = wait


@dataclass(eq=False)
class _Job:
    """A job of the thread, and whether it has begun."""

    do: Callable[[], None]
    begun: bool = False


class BackgroundWorker:
    """Runs the jobs one after the other on one thread, which lives from the first job to `close`.

    A process that ends without `close` still finishes its jobs. A fork of the process does not inherit them.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: set[_Job] = set()  # those that are not done
        self._lock = threading.RLock()  # not the condition's `with`: Ctrl-C in its Python code could leave it locked
        self._changed = threading.Condition(self._lock)
        self._process, self._said = os.getpid(), False

    @property
    def waiting(self) -> int:
        self._mind_forks()
        return len(self._jobs)

    def submit(self, job: Callable[[], None], *, here: bool = False) -> None:
        self._mind_forks()
        if here or not self._takes(job):
            self.wait()
            job()

    def _takes(self, job: Callable[[], None]) -> bool:
        """Hand the job to the thread. Return False if there is no thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, _THREAD)
        taken = _Job(job)
        with self._lock:
            self._jobs.add(taken)  # first, because it may be done before this thread continues
        try:
            self._pool.submit(self._do, taken)
        except RuntimeError as error:  # no thread can be started: a limit is reached, or the process is ending
            self._take_back(taken)
            if not self._said:
                self._said = True
                log.warning("cannot start a background thread; saving synchronously: %s", error)
            self._pool.shutdown(wait=False)
            self._pool = None
            return False
        except BaseException:  # Ctrl-C
            self._take_back(taken)
            raise
        return True

    def _take_back(self, job: _Job) -> None:
        """Withdraw a job that may be in the thread's queue, unless it has begun."""
        with self._lock:
            if not job.begun:
                self._jobs.discard(job)

    def wait(self, at_most: int = 0) -> None:
        self._mind_forks()
        with self._lock:
            self._changed.wait_for(lambda: len(self._jobs) <= at_most)

    def close(self) -> None:
        self._mind_forks()
        pool, self._pool = self._pool, None
        if pool is not None:
            # The garbage collector may run a finalizer on any thread, and no thread can wait for itself.
            pool.shutdown(wait=not threading.current_thread().name.startswith(_THREAD))

    def _mind_forks(self) -> None:
        if self._process != os.getpid():
            BackgroundWorker.__init__(self)

    def _do(self, job: _Job) -> None:
        with self._lock:
            if job not in self._jobs:
                return
            job.begun = True
        try:
            job.do()
        except BaseException:  # a bug; it must not vanish in a future that nothing reads
            log.exception("unexpected error in the checkpoint worker")
        finally:
            with self._lock:
                self._jobs.discard(job)
                self._changed.notify_all()
