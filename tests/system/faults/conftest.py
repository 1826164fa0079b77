"""The folders that the fault tests work in, and the summary of what they did."""

import logging
import shutil
import tempfile
from pathlib import Path

import pytest

_figures = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[_figures] = []


@pytest.fixture
def figures(request):
    """Return a function that adds a line to the summary printed at the end."""

    def add(line):
        request.config.stash[_figures].append(f"{request.node.name}: {line}")

    return add


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[_figures]:
        terminalreporter.section("faults")
        for line in config.stash[_figures]:
            terminalreporter.write_line(line)


@pytest.fixture
def place():
    """Return a function that makes new folders, in memory if possible, because thousands of them are needed."""
    memory = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="faults-", dir=memory if memory.is_dir() else None))
    yield lambda: Path(tempfile.mkdtemp(dir=base))  # also in forks of this process
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(autouse=True)
def quiet():
    """Silence the warnings: each fault causes one, so there are thousands."""
    logger = logging.getLogger("ckpt_callbacks")
    before, logger.propagate = logger.propagate, False
    handler = logging.NullHandler()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    logger.propagate = before
