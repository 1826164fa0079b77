"""The printed tables: in full and without colours when piped, fitted to the width of a terminal otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from ..record import Record, Status
from . import cells
from .output import printable

_COLOURS = {
    Status.WRITING: "yellow",
    Status.COMMITTED: "yellow",
    Status.VERIFIED: "green",
    Status.THINNED: "green",
    Status.DELETED: "bright_black",
    Status.FAILED: "red",
}
_RIGHT = {"id", "step", "epoch", "size", "blocked", "durable"}
_OPTIONAL = {"tags", "error"}
_NARROWEST = 8


def print_rows(rows: Sequence[dict[str, str]], records: Sequence[Record]) -> None:
    """Print one line for each row; on a terminal, columns that do not fit follow on separate lines.

    Args:
        rows: The text of each column, by the column's name.
        records: The record of each row, whose status colours it.
    """
    rows = [{name: printable(text) for name, text in row.items()} for row in rows]
    if sys.stdout.isatty():
        _print_fitted(rows, [_COLOURS[record.status] for record in records])
        return
    shown = [name for name in rows[0] if name not in _OPTIONAL or any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in shown}
    for row in ({name: name for name in widths}, *rows):
        cells = (row[name].rjust(n) if name in _RIGHT else row[name].ljust(n) for name, n in widths.items())
        click.echo("  ".join(cells).rstrip())


def print_nested(facts: Mapping[str, Any]) -> None:
    """Print one fact per line, with nested facts indented. Empty ones are left out."""
    for line in _nested({name: value for name, value in facts.items() if value not in ("", None, [], {})}):
        click.echo(line)


def _print_fitted(rows: Sequence[dict[str, str]], colours: Sequence[str]) -> None:
    from rich.cells import cell_len  # here, because importing rich is slow
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    widths = {name: max(cell_len(name), *(cell_len(row[name]) for row in rows)) for name in rows[0]}
    below: list[str] = [name for name in ("saved because", "kept because", "error") if name in rows[0]]
    across = [name for name in rows[0] if name not in below and any(row[name] for row in rows)]
    if "metrics" in across and sum(widths[name] + 2 for name in across) > console.width:
        across.remove("metrics")
        below.insert(0, "metrics")
    if "file" in across:
        rest = sum(widths[name] + 2 for name in across if name != "file")
        widths["file"] = max(_NARROWEST, min(widths["file"], console.width - rest - 2))

    def print_across(row: Mapping[str, str], styles: Mapping[str, str]) -> None:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name in across:
            grid.add_column(width=widths[name], overflow="fold", justify="right" if name in _RIGHT else "left")
        grid.add_row(*(Text(row[name], style=styles.get(name, "")) for name in across))
        console.print(grid)

    print_across({name: name for name in across}, dict.fromkeys(across, "bold"))
    for row, colour in zip(rows, colours, strict=True):
        print_across(row, {"status": colour, "aliases": "bold", "tags": "bold"})
        for name in below:
            if row[name]:
                line = Text(f"{name}: {row[name]}", style="red" if name == "error" else "dim")
                console.print(Padding(line, (0, 0, 0, widths["id"] + 2), expand=False))


def _nested(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in facts.items():
        key = f"{indent}{click.style(printable(str(name)), bold=True)}:"
        if isinstance(value, Mapping) and value:
            yield key
            yield from _nested(value, f"{indent}  ")
        elif isinstance(value, list) and value:
            yield key
            for item in value:
                if isinstance(item, Mapping | list):
                    item = ", ".join(_nested(item)) if isinstance(item, Mapping) else str(item)
                yield f"{indent}  - {_word(item)}"
        else:
            yield f"{key} {_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cells.number(value) if isinstance(value, float) else printable(str(value))
