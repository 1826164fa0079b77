"""The table in docs/peer-failures.md and the tests of this folder name the same failures."""

import re
from pathlib import Path

from tests.support.processes import ROOT

HERE = Path(__file__).parent
TABLE = ROOT / "docs" / "peer-failures.md"


def test_the_table_names_each_test_and_no_other():
    rows = re.findall(r"^\| ([LK]\d+) \|.*\| `(test_\w+)` \|$", TABLE.read_text(), re.M)
    sources = "".join(path.read_text() for path in sorted(HERE.glob("test_*.py")))
    tests = re.findall(r"^def (test_([lk]\d+)_\w+)\(", sources, re.M)
    assert sorted(rows) == sorted((number.upper(), name) for name, number in tests)
    numbers = [number for number, _ in rows]
    assert len(numbers) == len(set(numbers)) == TABLE.read_text().count("\n| L") + TABLE.read_text().count("\n| K")
