"""The command ``ckpt pin``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..record import Record
from ..store.condition import check_exists
from . import options
from .output import say
from .pins import amend


@click.command()
@options.run_dir
@options.which
def pin(run_dir: Path, which: str | None) -> None:
    """Keep a checkpoint, regardless of the policy.

    WHICH is its id or step, its file or path, a tag, or one of last, best and final. No retention rule deletes a pinned
    checkpoint, and `ckpt rm` does so only with --force. Works while training is running.
    """

    def pinned(now: Record) -> dict[str, Any]:
        check_exists(now)
        return {"pinned": True}

    record = amend(run_dir, which, pinned)
    say(f"{record.path}: pinned: no retention rule deletes it")
