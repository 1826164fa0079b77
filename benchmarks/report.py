"""Figures, targets and tables: the results of the benchmarks as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

MB = 10**6
GB = 10**9


@dataclass(frozen=True)
class Spread:
    """The median and range of several measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of some values.

        Raises:
            statistics.StatisticsError: There are no values.
        """
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


@dataclass(frozen=True)
class Table:
    """One table of results.

    Attributes:
        title: The heading above the table.
        columns: The headings of the columns, with units.
        rows: Rows of cells: text, numbers, `Spread`, or None if not measured.
        notes: Sentences below the table.
        command: The command that prints this table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str] = ()
    command: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown with its title, ending in an empty line."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.title}: a row has {len(row)} cells, there are {len(self.columns)} columns: {row}"
                )
        cells = [list(self.columns), *[[cell(value) for value in row] for row in self.rows]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        head = [f"## {self.title}", ""] + ([f"`{self.command}`", ""] if self.command else [])
        notes = [""] + [f"- {note}" for note in self.notes] if self.notes else []
        return "\n".join([*head, *lines, *notes, "", ""])

    def called(self, command: str) -> Table:
        """Return the same table with the command that prints it."""
        return replace(self, command=command)


def number(value: float) -> str:
    """Return a number with three significant digits and no exponent: 0.00123, 0.0456, 12.3, 4560."""
    if value == 0 or value != value or value in (float("inf"), float("-inf")):
        return f"{value:g}"
    text = f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")
    return text if text not in ("0", "-0") else f"{value:.1g}"


def cell(value: object) -> str:
    """Return the text of a table cell."""
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value).replace("|", "/")


def ratio(value: float | None, to: float | None) -> float | None:
    """Return ``value / to``, or None if either was not measured."""
    return value / to if value is not None and to else None


@dataclass(frozen=True)
class Target:
    """A bound that a figure has to meet.

    Attributes:
        what: The name of the figure.
        measured: The figure, or None if it was not measured.
        bound: The largest value that meets the target, or the smallest with ``at_least``.
        at_least: Whether larger figures are better.
    """

    what: str
    measured: float | None
    bound: float
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Met, missed or not measured."""
        if self.measured is None:
            return "not measured"
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "met" if met else "MISSED"

    @staticmethod
    def table(title: str, targets: Sequence[Target], notes: Sequence[str] = ()) -> Table:
        """Return the table of all targets, met or missed."""
        rows = [
            (t.what, t.measured, f"{'at least' if t.at_least else 'at most'} {number(t.bound)}", t.verdict)
            for t in targets
        ]
        return Table(title, ("", "measured", "target", ""), rows, notes)


def spread(results: Iterable[Mapping[str, float | None]], key: str) -> Spread | None:
    """Return the spread of one figure over all measurements that have it, or None if none has."""
    values = [result[key] for result in results if result.get(key) is not None]
    return Spread.of(values) if values else None


def median(values: Spread | None) -> float | None:
    """Return the median of a spread, or None if nothing was measured."""
    return values.median if values else None
