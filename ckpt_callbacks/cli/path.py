"""The command ``ckpt path``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import printable
from ..store.condition import check_exists
from . import options
from .records import Listing


@click.command()
@options.run_dir
@options.which
def path(run_dir: Path, which: str | None) -> None:
    """Print the path of one checkpoint.

    RUN_DIR and WHICH name the checkpoint: its id or step, its file, a tag, or one of last, best and final. For scripts,
    such as python test.py --ckpt "$(ckpt path runs/a best)".
    """
    manifest, name = options.locate(run_dir, which)
    record = Listing(manifest, options.policy_of(None, manifest)).find(name)
    check_exists(record)
    shown = str(record.path)
    click.echo(printable(shown) if sys.stdout.isatty() else shown)
