"""Runs that are killed with -9 at random times and resumed, and must end bit-identical to an uninterrupted one.

``make soak`` runs each row in full, CI once.
"""

import pytest

from tests.system.soak import table
from tests.system.soak.engines import Engines
from tests.system.soak.rows import ROWS, RUNS, ci_engine


def wanted(request, runs_of):
    """Return for each engine the rows that the selected tests need."""
    names = {
        item.callspec.params["row"].name for item in request.session.items if request.fixturename in item.fixturenames
    }
    found = {}
    for row in (row for row in ROWS if row.name in names):
        for engine, runs in runs_of(row).items():
            found.setdefault(engine, []).append((row.name, runs))
    return found


@pytest.fixture(scope="session")
def once(request):
    with Engines(wanted(request, lambda row: {ci_engine(row): 1})) as engines:
        yield engines


@pytest.fixture(scope="session")
def in_full(request):
    with Engines(wanted(request, lambda row: {engine: RUNS[engine] for engine in row.engines})) as engines:
        yield engines


@pytest.fixture(scope="session")
def results():
    """Return the outcomes by row, and write them to the document once all rows have run."""
    found = {}
    yield found
    if len(found) == len(ROWS):
        table.write([found[row.name] for row in ROWS])


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_one_run_of_each_row(row, once):
    outcome = once.outcome(row.name, ci_engine(row))
    assert outcome.runs == 1 and outcome.kills
    assert not outcome.different


@pytest.mark.soak
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_killed_and_resumed(row, in_full, results, capsys):
    outcomes = [in_full.outcome(row.name, engine) for engine in row.engines]
    with capsys.disabled():
        print(("\n" + table.HEAD if not results else "") + table.line(outcomes), end="", flush=True)
    results[row.name] = outcomes
    different = [line for outcome in outcomes for line in outcome.different]
    assert sum(outcome.runs for outcome in outcomes) >= 8 and all(outcome.kills for outcome in outcomes)
    assert not different, "\n".join(different)
