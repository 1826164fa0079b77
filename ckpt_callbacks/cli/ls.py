"""The command ``ckpt ls``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..record import Record
from . import cells, options, table
from .output import say
from .records import Listing


@click.command()
@options.run_dir
@options.as_json
@click.option("--all", "everything", is_flag=True, help="Include deleted checkpoints and all failed saves.")
@options.config
def ls(run_dir: Path, as_json: bool, everything: bool, config: Path | None) -> None:
    """List the checkpoints of a run.

    Shows the facts of each checkpoint in RUN_DIR, why it was saved, and why it is kept.
    """
    manifest = options.open_manifest(run_dir)
    listing = Listing(manifest, options.policy_of(config, manifest))
    records, hidden = listing.listed(everything)
    if as_json:
        for record in records:
            options.echo_json(record.to_json())
    elif records:
        table.print_rows([_row(listing, record) for record in records], records)
    if not records and not (as_json or hidden):
        say(f"{run_dir}: no checkpoint yet")
    elif hidden and (sys.stdout.isatty() or not records) and not as_json:
        click.echo(click.style(f"{hidden}; --all shows them", dim=True))


def _row(listing: Listing, record: Record) -> dict[str, str]:
    measured = (*record.scores.items(), *record.metrics.items())
    return {
        "id": str(record.id),
        "file": record.file,
        "step": str(record.step),
        "epoch": str(record.epoch),
        "metrics": ", ".join(f"{name}={cells.number(value)}" for name, value in measured),
        "size": cells.size(record) if record.size else "",
        "status": cells.status(record, missing=record.id in listing.missing),
        "saved": (cells.age(record) if sys.stdout.isatty() else cells.date(record)) if record.wall else "",
        "aliases": ", ".join(listing.aliases.get(record.id, ())),
        "tags": ", ".join((*record.tags, *(("pinned",) if record.pinned else ()))),
        "saved because": "; ".join(record.reasons),
        "kept because": "; ".join(listing.kept.get(record.id, ())),
        "error": record.error or "",
    }
