"""A training run without a framework in which something hangs after a signal: ``DIRPATH WHAT``; `HANGS` lists it.

It gives its process 1.5 s, and says by a file ``ready`` when a signal may come.
"""

import atexit
import ctypes
import logging
import os
import sys
import threading
import time
from pathlib import Path

from ckpt_callbacks import EventKind, Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.testing import FakeWriter
from tests.support.training import new_run, report, start

GRACE = 1.5
LONG = 60.0


def talk():
    print("x" * 9999, flush=True)


def complain():
    logging.getLogger("training").warning("x" * 9999)


def wait_natively(library):
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):  # the second one waits for ever, and no signal interrupts it
        library.pthread_mutex_lock(mutex)


class HangsAtTheEnd:
    def __del__(self, sleep=time.sleep):
        sleep(LONG)


class Hangs(logging.Handler):
    def emit(self, record):
        time.sleep(LONG)


def close_stdout():
    os.close(1)
    sys.stdout = None


def be_without_stdout():
    sys.stdout = None


def hang_in_a_save(*_):
    time.sleep(LONG)


BEFORE = {
    "stdout is closed": close_stdout,
    "stdout is None": be_without_stdout,
    "an atexit": lambda: atexit.register(time.sleep, LONG),
    "a thread": lambda: threading.Thread(target=time.sleep, args=(LONG,)).start(),
    "a finaliser": lambda: setattr(sys, "hangs", HangsAtTheEnd()),
    "a logger": lambda: logging.getLogger("ckpt_callbacks").addHandler(Hangs()),
}
AT_A_STEP = {
    "nobody reads stdout": talk,
    "nobody reads stderr": complain,
    "C without the GIL": lambda: wait_natively(ctypes.CDLL(None)),
    "C with the GIL": lambda: wait_natively(ctypes.PyDLL(None)),
}
SAVES = {f"a save, and {what}": BEFORE[what] for what in ("stdout is closed", "stdout is None", "a logger")}
HANGS = [*BEFORE, *AT_A_STEP, "a save", *SAVES]


def main(dirpath, what):
    logging.basicConfig()
    run = new_run(Path(dirpath), Policy(Every(steps=2) | OnPreempt(), KeepAll()), grace=GRACE)
    run.open()
    start(run)
    (BEFORE | SAVES).get(what, lambda: None)()
    for step in range(1, 10000):
        if step == 4:
            run.wait()  # no thread can write while another one holds the GIL
            Path(dirpath, "ready").touch()
        if step >= 4:
            AT_A_STEP.get(what, lambda: time.sleep(0.02))()
        stage = hang_in_a_save if what.startswith("a save") and step > 4 else FakeWriter().snapshot
        report(run, EventKind.STEP_END, step=step, epoch=0, stage=stage)


if __name__ == "__main__":
    main(*sys.argv[1:])
