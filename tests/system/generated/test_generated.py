"""Random scripts that are killed at a random batch and started again: identical bits, or a warning.

``make scripts`` runs 500 of them, and `make test-faults` the first ones.
"""

import itertools
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.processes import ENVIRONMENT, ROOT

FEW = {"lightning": 24, "keras": 8}
ALL = {"lightning": 400, "keras": 100}
WORKERS = 2


def verdicts(framework, count):
    """Yield one line for each script, from several processes."""
    bounds = [count * n // WORKERS for n in range(WORKERS + 1)]
    command = [sys.executable, "-m", "tests.system.generated.serve", framework]
    processes = [
        subprocess.Popen([*command, str(first), str(last)], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
        for first, last in itertools.pairwise(bounds)
    ]  # fmt: skip
    for process in processes:
        said, _ = process.communicate()
        assert process.returncode == 0
        yield from said.splitlines()


def check(framework, count, capsys):
    found, wrong = Counter(), []
    for line in verdicts(framework, count):
        kind = line.partition(" ")[0]
        if kind in ("identical", "told", "WRONG"):
            found[kind] += 1
        if found["WRONG"]:
            wrong.append(line)
    with capsys.disabled():
        print(f"\n{framework}: {found.total()} scripts, {found['identical']} identical, {found['told']} told")
    assert not wrong, "\n".join(wrong)
    assert found.total() == count and found["identical"] > count / 2


@pytest.mark.slow
@pytest.mark.parametrize("framework", FEW)
def test_the_first_scripts_end_with_the_same_bits(framework, capsys):
    check(framework, FEW[framework], capsys)


@pytest.mark.soak
@pytest.mark.parametrize("framework", ALL)
def test_all_scripts_end_with_the_same_bits(framework, capsys):
    check(framework, ALL[framework], capsys)
