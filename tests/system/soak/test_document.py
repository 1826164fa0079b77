"""The rows that docs/exact-resume.md names, compared with the existing ones."""

import re

from tests.system.soak.rows import ROWS
from tests.system.soak.table import BEGIN, DOCUMENT, END

ROW = re.compile(r"^\| `([a-z-]+)` \| ([^|]*) \|", re.M)


def parts():
    text = DOCUMENT.read_text()
    promises, _, rest = text.partition(BEGIN)
    return promises, rest.partition(END)[0]


def test_what_is_exact_is_what_the_rows_train():
    assert ROW.findall(parts()[0]) == [(row.name, row.what) for row in ROWS]


def test_the_printed_result_is_that_of_all_rows():
    assert [name for name, _ in ROW.findall(parts()[1])] == [row.name for row in ROWS]


def test_no_run_of_the_printed_result_ended_otherwise():
    rows = [line.split("|")[1:-1] for line in parts()[1].splitlines() if line.startswith("| `")]
    assert [int(cells[8]) for cells in rows] == [0] * len(ROWS), "`different` is the last column but one"
