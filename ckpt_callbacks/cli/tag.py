"""The command ``ckpt tag``."""

from __future__ import annotations

from pathlib import Path

import click

from ..run.saved_run import read_manifest
from . import options
from .output import say
from .pins import amend, checked_tag, fate_of


@click.command()
@options.run_dir
@click.argument("which")
@click.argument("name")
def tag(run_dir: Path, which: str, name: str) -> None:
    """Give a checkpoint a tag.

    WHICH is its id or step, its file or path, a tag, or one of last, best and final. Other commands find the checkpoint
    by its tag; if several have the same tag, by the newest. A tag keeps a checkpoint only if the policy says so
    (KeepTagged). Works while training is running.
    """
    name = checked_tag(name, read_manifest(run_dir))
    record = amend(run_dir, which, lambda now: {"tags": tuple(dict.fromkeys((*now.tags, name)))})
    say(f"{record.path}: tagged {name}{fate_of(run_dir, record, name)}")
