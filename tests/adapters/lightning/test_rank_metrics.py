"""Metrics that not all processes log: the first process's count, and no process waits for another in vain."""

import json
from pathlib import Path

import pytest

from tests.support.forks import forks_of

SCRIPT = Path(__file__).parent / "train_rank_metrics.py"


def run(dirpath, where, who):
    return forks_of().complete(SCRIPT, dirpath, where, who)  # starts the other process itself


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "who", "found"),
    [
        ("epoch", "0", {"5": 1.0, "10": 2.0}),
        pytest.param("mid_epoch", "0", {"2": 1.0, "4": 2.0, "5": None, "7": 3.0, "9": 4.0, "10": None},
                     marks=pytest.mark.slow),
        pytest.param("mid_epoch", "all", {"2": 1.0, "4": 2.0, "5": None, "7": 3.0, "9": 4.0, "10": None},
                     marks=pytest.mark.slow),
        pytest.param("step", "0", {str(step): float(step) for step in range(1, 11)}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_metric_of_the_first_process_is_the_metric_of_all(tmp_path, where, who, found):
    done = run(tmp_path, where, who)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == found


@pytest.mark.slow
@pytest.mark.parametrize("where", ["epoch", pytest.param("mid_epoch", marks=pytest.mark.slow)])
def test_a_metric_that_the_first_process_lacks_is_one_clear_line(tmp_path, where):
    done = run(tmp_path, where, "1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("the metric 'map' was never logged; logged names: ") == 2  # one line of each process
