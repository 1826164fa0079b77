"""The command ``ckpt untag``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import StoreError
from ..record import Record
from . import options
from .output import say
from .pins import amend


@click.command()
@options.run_dir
@options.which_before_name
@options.name
def untag(run_dir: Path, which: str, name: str | None) -> None:
    """Take a tag away from a checkpoint.

    RUN_DIR and WHICH name the checkpoint: its id or step, its file, a tag, or one of last, best and final. The path of
    the checkpoint alone is enough.
    """
    checkpoint, given = options.apart(which, name)

    def without(now: Record) -> Mapping[str, Any]:
        if given not in now.tags:
            has = f"its tags are {', '.join(now.tags)}" if now.tags else "it has no tag"
            raise StoreError(f"{now.path}: is not tagged {given!r}; {has}")
        return {"tags": tuple(tag for tag in now.tags if tag != given)}

    record = amend(run_dir, checkpoint, without)
    say(f"{record.path}: no longer tagged {given}")
