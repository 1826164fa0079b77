"""The command ``ckpt unpin``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .output import say
from .pins import amend


@click.command()
@options.run_dir
@options.which
def unpin(run_dir: Path, which: str | None) -> None:
    """Let the policy decide again whether a checkpoint is kept.

    WHICH is its id or step, its file or path, a tag, or one of last, best and final. If no retention rule keeps the
    checkpoint, the next save of a training run deletes it.
    """
    record = amend(run_dir, which, lambda now: {"pinned": False})
    say(f"{record.path}: unpinned: the policy decides whether it is kept")
