"""The results of the rows as a table, and its place in docs/exact-resume.md."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.processes import ROOT
from tests.system.soak.harness import Outcome

DOCUMENT = ROOT / "docs" / "exact-resume.md"
BEGIN, END = "<!-- make soak writes this -->\n", "<!-- up to here -->\n"
NAMES = {"lightning": "Lightning", "tensorflow": "TensorFlow", "torch": "torch", "jax": "JAX"}
HEAD = (
    "| row | on | runs | kills | during a save | resumes | mid-epoch | identical | different | seconds |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def line(outcomes: Sequence[Outcome]) -> str:
    """Return one row of the table, over all of the row's engines."""
    return _line(f"`{outcomes[0].row}`", ", ".join(NAMES[outcome.engine] for outcome in outcomes), outcomes)


def table(rows: Sequence[Sequence[Outcome]]) -> str:
    """Return the table of all rows, and their sum."""
    everything = [outcome for outcomes in rows for outcome in outcomes]
    return HEAD + "".join(map(line, rows)) + _line("all", "", everything)


def write(rows: Sequence[Sequence[Outcome]]) -> None:
    """Replace the table in the document."""
    text = DOCUMENT.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(before + table(rows) + after)


def _line(name: str, engines: str, outcomes: Sequence[Outcome]) -> str:
    def total(attribute: str) -> int:
        return sum(getattr(outcome, attribute) for outcome in outcomes)

    different = sum(len(outcome.different) for outcome in outcomes)
    figures = [total("runs"), total("kills"), total("within_saves"), total("resumes"), total("mid_epoch")]
    figures += [total("runs") - different, different, round(sum(outcome.seconds for outcome in outcomes))]
    return f"| {name} | {engines} | {' | '.join(map(str, figures))} |\n"
