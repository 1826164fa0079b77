"""Servers for the tests of mirrors, and the proof that none of their secrets is left anywhere."""

import json
import logging
import traceback
from pathlib import Path

import pytest

from tests.support.forks import forks_of
from tests.system.mirrors import places
from tests.system.mirrors.canary import traces

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def opened_places():
    with places.opened() as place:
        yield place


@pytest.fixture
def place(opened_places, request, tmp_path):
    """Return a folder, of its own for each test, of the place that the parameter names."""
    return opened_places(request.param).at(tmp_path.name)


@pytest.fixture(scope="session", autouse=True)
def own_folder_of_the_hub(tmp_path_factory):
    """Keep the client of the Hub out of the user's cache."""
    folder = tmp_path_factory.mktemp("huggingface")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HOME", "HF_XET_CACHE"):
            patch.setenv(name, str(folder))
        yield folder


@pytest.fixture(scope="session")
def left_behind(tmp_path_factory, own_folder_of_the_hub):
    """Search the files of all tests, their logs and their tracebacks for secrets, once all of them have run."""
    logs = tmp_path_factory.mktemp("log")
    folders, handler = {own_folder_of_the_hub, logs}, logging.FileHandler(logs / "log.txt")
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    log, level = logging.getLogger("ckpt_callbacks"), logging.getLogger("ckpt_callbacks").level
    log.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield folders
    logging.getLogger().removeHandler(handler)
    handler.close()
    log.setLevel(level)
    found = [line for folder in folders for line in traces(folder)]
    assert not found, "\n".join(found)


@pytest.fixture(autouse=True)
def searched(left_behind, tmp_path):
    """Have the files of this test searched."""
    left_behind.add(tmp_path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep the tracebacks of errors that a test expected, as of those that it did not expect."""
    yield
    if call.excinfo is not None and "tmp_path" in getattr(item, "funcargs", {}):
        (item.funcargs["tmp_path"] / "traceback.txt").write_text(
            "".join(traceback.format_exception(call.excinfo.value))
        )


@pytest.fixture
def train(tmp_path):
    """Return a function that trains in a new process, and returns the lines that it has printed."""
    number = iter(range(100))

    def run(framework, dirpath, mirrors, epochs, pause=0.0, workers=0):
        arguments = framework, dirpath, json.dumps(mirrors), epochs, pause, workers
        done = forks_of().complete(HERE / "train.py", *arguments)
        text = done.stdout + done.stderr
        (tmp_path / f"output-{next(number)}.txt").write_text(text)
        assert done.returncode == 0, text[-3000:]
        return done.stdout.splitlines()

    return run
