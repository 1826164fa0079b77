"""The priority of a thread that works in the background."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_NICE = 10  # a tenth of what a training thread gets if both want one core; with 19, who waits for a lock waits too long


def yield_to_training() -> None:
    """Lower the priority of this thread, where the system can do that for a single one, unless it is the main one."""
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
