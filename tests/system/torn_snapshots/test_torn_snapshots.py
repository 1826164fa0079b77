"""Files that are written while training continues, none of which may hold more than one step.

``make hunt`` looks into 1,000 of them, ``make test-faults`` into some 30 of each engine.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.processes import ENVIRONMENT
from tests.system.torn_snapshots import table
from tests.system.torn_snapshots.pace import SPAN

ENGINES = ("lightning", "tensorflow", "torch", "jax")
CHANGE_IN_PLACE = ("lightning", "torch")
HERE = Path(__file__).parent
WIDTH = 2  # searches at a time


def search(engine, saves, *broken):
    """Return what the hunt found on an engine: one finding for each contents."""
    command = [sys.executable, HERE / "search.py", engine, str(saves), "1", *broken]
    begun = time.monotonic()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"engine"')]
    return [{**one, "seconds": (time.monotonic() - begun) / len(found)} for one in found]


@pytest.fixture(scope="session")
def begun():
    """Return a function that starts searches before the tests that need their findings."""
    pool = ThreadPoolExecutor(WIDTH)
    yield lambda wanted: {one: pool.submit(search, *one) for one in wanted}
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def some(begun):
    return begun([(engine, 30) for engine in ENGINES] + [(engine, 8, "broken") for engine in CHANGE_IN_PLACE])


@pytest.fixture(scope="session")
def thousand(begun):
    return begun([(engine, 1000 // len(ENGINES)) for engine in ENGINES])


def check(found, saves):
    """Check that nothing is torn, and that the hunt saw enough files, each written while training continued."""
    assert [one["contents"] for one in found] == ["full", "weights"]
    assert sum(one["saves"] for one in found) >= saves
    for one in found:
        assert not one["torn"], one["torn"][:3]
        assert one["on demand"] and one["at epoch ends"] and one["on demand"] + one["at epoch ends"] < one["saves"]
        assert not one["short"] and len(one["spans"]) >= one["saves"] - 2, (
            "the last file is written when all is trained"
        )
        assert min(one["spans"]) >= SPAN


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_some_files_of_each_engine(engine, some):
    check(some[engine, 30].result(), 30)


@pytest.mark.slow
@pytest.mark.parametrize("engine", CHANGE_IN_PLACE)
def test_a_snapshot_with_one_tensor_that_was_not_copied_is_found(engine, some):
    found = some[engine, 8, "broken"].result()
    with pytest.raises(AssertionError, match=r"of step \d+, holds"):
        check(found, 8)
    for one in found:
        assert len(one["torn"]) >= one["saves"] - 2


@pytest.fixture(scope="session")
def results():
    """Return the findings by engine, and write them to the document once all are there."""
    found = {}
    yield found
    if len(found) == len(ENGINES):
        table.write([one for engine in ENGINES for one in found[engine]])


@pytest.mark.soak
@pytest.mark.parametrize("engine", ENGINES)
def test_a_thousand_files(engine, thousand, results):
    saves = 1000 // len(ENGINES)
    results[engine] = thousand[engine, saves].result()
    check(results[engine], saves)


def test_the_printed_result_is_that_of_a_whole_hunt():
    rows = table.read()
    assert [row[0] for row in rows[:-1:2]] == [table.NAMES[engine] for engine in ENGINES]
    assert rows[-1][0] == "all" and int(rows[-1][2]) >= 1000
    assert all(row[-2] == "0" and int(row[5]) >= SPAN for row in rows), "torn is the last column but one"
