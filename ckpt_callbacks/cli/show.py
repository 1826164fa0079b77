"""The command ``ckpt show``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options, table
from .listing import Listing


@click.command()
@options.run_dir
@click.argument("which")
@options.as_json
@options.config
def show(run_dir: Path, which: str, as_json: bool, config: Path | None) -> None:
    """Show all facts of one checkpoint.

    WHICH is its id, its file, a tag, or one of last, best and final.
    """
    manifest = options.open_manifest(run_dir)
    listing = Listing(manifest, options.policy_of(config, manifest))
    record = listing.find(which)
    if as_json:
        options.echo_json(record.to_json())
    else:
        table.print_facts(listing, record)
