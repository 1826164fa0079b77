"""The printed tables: one line for each row on a pipe, fitted to the width of a terminal otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from ..errors import printable
from ..record import Record, Status
from . import cells

_COLOURS = {
    Status.WRITING: "yellow",
    Status.COMMITTED: "yellow",
    Status.VERIFIED: "green",
    Status.THINNED: "green",
    Status.DELETED: "bright_black",
    Status.FAILED: "red",
}
_RIGHT = {"id", "step", "epoch", "size", "blocked", "durable", "saves", "at step"}
_BOLD = {"aliases", "tags"}
_STRONG = {"bold": True}
_BELOW = ("saved because", "kept because", "error")  # on a terminal, they stand on lines of their own
_YIELDING = ("metrics", "best", "tags", "size", "epoch", "saved", "aliases", "file")  # these follow if lines are short
_CUT = ("error", "metrics")  # these are cut to the width of a piped line, in this order
_NARROWEST = 12

Row = Mapping[str, str]


def print_rows(rows: Sequence[Row], records: Sequence[Record] | None = None, *, width: int | None = None) -> None:
    """Print one line for each row; on a terminal, columns that do not fit follow on separate lines.

    Args:
        rows: The text of each column, by the column's name. Columns without any text are left out.
        records: The record of each row, whose status colours it.
        width: On a pipe, the length of a line to which long texts are cut.
    """
    rows = [{name: printable(text) for name, text in row.items()} for row in rows]
    shown = [name for name in rows[0] if any(row[name] for row in rows)]
    if sys.stdout.isatty():
        _print_fitted(rows, shown, [_colour(row, record) for row, record in zip(rows, records or (), strict=False)])
        return
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in shown}
    for name in _CUT if width is not None else ():
        if name in widths:
            spare = (width or 0) - sum(n + 2 for other, n in widths.items() if other != name)
            widths[name] = min(widths[name], max(_NARROWEST, spare))
    for row in ({name: name for name in widths}, *rows):
        click.echo("  ".join(_aligned(name, _cut(row[name], n), n) for name, n in widths.items()).rstrip())


def _colour(row: Row, record: Record) -> str:
    return "red" if row["status"].startswith("missing") else _COLOURS[record.status]


def print_nested(facts: Mapping[str, Any]) -> None:
    """Print one fact per line, with nested facts indented. Empty ones are left out."""
    for line in _nested({name: value for name, value in facts.items() if value not in ("", None, [], {})}):
        click.echo(line)


def _print_fitted(rows: Sequence[Row], shown: Sequence[str], colours: Sequence[str]) -> None:
    from rich.cells import cell_len  # here, because importing rich is slow
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    across = [name for name in shown if name not in _BELOW]
    widths = {name: max(cell_len(name), *(cell_len(row[name]) for row in rows)) for name in across}
    below = [name for name in _BELOW if name in shown]
    is_long = widths.get("file", 0) > console.width // 2
    for name in ("file", *_YIELDING) if is_long else _YIELDING:
        if name in widths and sum(n + 2 for n in widths.values()) - 2 > console.width:
            del widths[name]
            below.insert(0, name)

    def line_of(row: Row, style_of: Mapping[str, Mapping[str, Any]]) -> str:
        pieces = []
        for name, n in widths.items():
            padding = " " * (n - cell_len(row[name]))
            styled = click.style(row[name], **style_of.get(name, {}))
            pieces.append(padding + styled if name in _RIGHT else styled + padding)
        return "  ".join(pieces).rstrip()

    click.echo(line_of({name: name for name in widths}, {name: _STRONG for name in widths}))
    indent = min(next(iter(widths.values())) + 2, 8)
    for number, row in enumerate(rows):
        status = {"status": {"fg": colours[number]}} if colours else {}
        click.echo(line_of(row, {**status, **{name: _STRONG for name in _BOLD}}))
        for name in below:
            if name == "file":
                click.echo(f"{' ' * indent}{row[name]}")  # whole, so that it can be copied
            elif row[name]:
                line = Text(f"{name}: {row[name]}", style="red" if name == "error" else "dim")
                console.print(Padding(line, (0, 0, 0, indent), expand=False))


def _aligned(name: str, text: str, width: int) -> str:
    return text.rjust(width) if name in _RIGHT else text.ljust(width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


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
