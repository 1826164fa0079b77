"""Settings for every test process and for those that they start."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ckpt_callbacks.runtime.signals import PROCESS
from tests.support.shares import PARTS, commit, left_out

HERE = Path(__file__).parent

# Tiny models on two shared cores: more threads only wait for one another.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# How long an example takes says nothing while other processes use the cores.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A shell ignores it in what it runs in the background; the tests press Ctrl-C all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing that is imported is garbage, and to look through all of it takes a second each time.
gc.disable()

# Whole training runs, after the quick tests. Slow files come first, so that no process ends long after the others.
_SLOW = ("test_docs.py", "test_recipes.py", "adapters", "torch", "system")
# Their forks crash in a process that has trained with TensorFlow, whose threads they lack.
_FORKING = HERE / "system" / "faults"


@pytest.fixture(autouse=True)
def no_countdown():
    """Live on after a signal: a process that catches the `SystemExit` is ended all the same once its grace is over."""
    yield
    PROCESS.forget()


def pytest_collection_finish():
    """Collect garbage from now on, but not among what was imported."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config, items):
    """Run the quick tests first, so that a mistake shows early, and of the slow ones the share that was asked for."""

    def rank(item):
        if item.path.is_relative_to(_FORKING):  # a fork is cheap before a framework is imported
            return -1 if hasattr(item.module, "load_framework") else -2
        room = item.path.relative_to(HERE).parts[0]
        return _SLOW.index(room) + 1 if room in _SLOW else 0

    items.sort(key=rank)
    if PARTS > 1:
        # The sweeps of faults try a share of their points instead.
        swept = [item for item in items if not item.path.is_relative_to(_FORKING)]
        slow = [item.nodeid for item in swept if item.get_closest_marker("slow")]
        left = left_out(slow, PARTS, commit())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
        items[:] = [item for item in items if item.nodeid not in left]
