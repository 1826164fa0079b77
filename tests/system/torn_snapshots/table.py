"""The results of the search as a table, and its place in docs/background-saves.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.processes import ROOT

DOCUMENT = ROOT / "docs" / "background-saves.md"
BEGIN, END = "<!-- make hunt writes this -->\n", "<!-- up to here -->\n"
NAMES = {
    "lightning": "Lightning", "tensorflow": "Keras, TensorFlow", "torch": "Keras, torch", "jax": "Keras, JAX",
}  # fmt: skip
_HEAD = (
    "| on | contents | files | on demand | at epoch ends | fewest steps during one write | torn | seconds |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def write(found: Sequence[Mapping[str, Any]]) -> None:
    """Replace the table in the document."""
    text = DOCUMENT.read_text()
    rows = [_row(NAMES[one["engine"]], one["contents"], [one]) for one in found] + [_row("all", "", found)]
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(before + _HEAD + "".join(rows) + after)


def read() -> list[list[str]]:
    """Return the cells of the table's rows."""
    text = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def _row(name: str, contents: str, found: Sequence[Mapping[str, Any]]) -> str:
    def total(key: str) -> int:
        return sum(one[key] for one in found)

    figures = [total("saves"), total("on demand"), total("at epoch ends")]
    figures += [min(min(one["spans"]) for one in found), sum(len(one["torn"]) for one in found)]
    figures += [round(total("seconds"))]
    return f"| {name} | {contents} | {' | '.join(map(str, figures))} |\n"
