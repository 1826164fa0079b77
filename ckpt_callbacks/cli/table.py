"""The printed tables: in full and without colours when piped, fitted to the width of a terminal otherwise."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from ..record import Record, Status
from ..units import roughly
from .listing import Listing

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


def print_table(listing: Listing, records: Sequence[Record]) -> None:
    """Print one line for each record; on a terminal, what does not fit follows on separate lines."""
    _print_rows([_row(listing, record, sys.stdout.isatty()) for record in records], records)


def print_history(records: Sequence[Record]) -> None:
    """Print one line for each record: when and why it was saved, and what that cost."""
    _print_rows([_history_row(record) for record in records], records)


def _print_rows(rows: Sequence[dict[str, str]], records: Sequence[Record]) -> None:
    if sys.stdout.isatty():
        _print_fitted(rows, [_COLOURS[record.status] for record in records])
        return
    shown = [name for name in rows[0] if name not in _OPTIONAL or any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in shown}
    for row in ({name: name for name in widths}, *rows):
        cells = (row[name].rjust(n) if name in _RIGHT else row[name].ljust(n) for name, n in widths.items())
        click.echo("  ".join(cells).rstrip())


def print_facts(listing: Listing, record: Record) -> None:
    """Print all facts of one record."""
    facts = {
        "id": record.id,
        "file": record.file,
        "path": record.path,
        "status": _status(record),
        "error": record.error,
        "aliases": ", ".join(listing.aliases.get(record.id, ())),
        "tags": ", ".join(record.tags),
        "pinned": record.pinned,
        "step": record.step,
        "epoch": record.epoch,
        "saved": f"{_date(record)} ({_age(record)})" if record.wall else "",
        "training time": f"{record.time:.1f} s",
        "size": f"{_size(record)} ({record.size} bytes)",
        "digest": record.digest,
        "took": {name: roughly(seconds) for name, seconds in record.timings.items()},
        "contents": record.contents,
        "resumable": record.resumable,
        "run": record.run,
        "attempt": record.attempt,
        "parent": record.parent,
        "saved because": list(record.reasons),
        "kept because": list(listing.kept.get(record.id, ())),
        "metrics": record.metrics,
        "scores": record.scores,
        "metadata": record.metadata,
    }
    for line in _nested({name: value for name, value in facts.items() if value not in ("", None, [], {})}):
        click.echo(line)


def count(n: int, noun: str) -> str:
    """Return ``1 checkpoint`` or ``2 checkpoints``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _row(listing: Listing, record: Record, on_terminal: bool) -> dict[str, str]:
    measured = (*record.scores.items(), *record.metrics.items())
    return {
        "id": str(record.id),
        "file": record.file,
        "step": str(record.step),
        "epoch": str(record.epoch),
        "metrics": ", ".join(f"{name}={_number(value)}" for name, value in measured),
        "size": _size(record) if record.size else "",
        "status": _status(record),
        "saved": (_age(record) if on_terminal else _date(record)) if record.wall else "",
        "aliases": ", ".join(listing.aliases.get(record.id, ())),
        "tags": ", ".join((*record.tags, *(("pinned",) if record.pinned else ()))),
        "saved because": "; ".join(record.reasons),
        "kept because": "; ".join(listing.kept.get(record.id, ())),
        "error": record.error or "",
    }


def _history_row(record: Record) -> dict[str, str]:
    took = {name: roughly(seconds) for name, seconds in record.timings.items()}
    return {
        "id": str(record.id),
        "saved": _date(record) if record.wall else "",
        "step": str(record.step),
        "epoch": str(record.epoch),
        "blocked": took.get("blocked", ""),
        "durable": took.get("written", ""),
        "size": _size(record) if record.size else "",
        "status": _status(record),
        "saved because": "; ".join(record.reasons),
        "error": record.error or "",
    }


def _status(record: Record) -> str:
    missing = record.status.on_disk and not os.path.lexists(record.path)
    marks = ("MISSING", missing), ("superseded", record.superseded), ("exceptional", record.exceptional)
    return ", ".join((record.status.value, *(mark for mark, holds in marks if holds)))


def _size(record: Record) -> str:
    from rich.filesize import decimal  # here, because importing rich is slow

    return decimal(record.size)


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
        key = f"{indent}{click.style(name, bold=True)}:"
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
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _date(record: Record) -> str:
    return datetime.datetime.fromtimestamp(record.wall, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(record: Record) -> str:
    seconds = max(0.0, time.time() - record.wall)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"
