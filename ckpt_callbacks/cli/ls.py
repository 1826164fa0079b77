"""The command ``ckpt ls``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from . import options, table
from .listing import Listing


@click.command()
@options.run_dir
@options.as_json
@click.option("--all", "everything", is_flag=True, help="Include deleted checkpoints and all failed saves.")
@options.config
def ls(run_dir: Path, as_json: bool, everything: bool, config: Path | None) -> None:
    """List the checkpoints of a run.

    For each checkpoint in RUN_DIR: its facts, why it was saved, and why it is kept.
    """
    manifest = options.open_manifest(run_dir)
    listing = Listing(manifest, options.policy_of(config, manifest))
    records, hidden = listing.listed(everything)
    if as_json:
        for record in records:
            options.echo_json(record.to_json())
    elif records:
        table.print_table(listing, records)
    if not records and not (as_json or hidden):
        click.echo(f"{run_dir}: no checkpoint yet")
    elif hidden and (sys.stdout.isatty() or not records) and not as_json:
        click.echo(click.style(f"{hidden}; --all shows them", dim=True))
