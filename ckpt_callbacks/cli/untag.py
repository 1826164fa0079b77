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
@click.argument("which")
@click.argument("name")
def untag(run_dir: Path, which: str, name: str) -> None:
    """Take a tag away from a checkpoint.

    WHICH is its id or step, its file or path, a tag, or one of last, best and final.
    """

    def without(now: Record) -> Mapping[str, Any]:
        if name not in now.tags:
            has = f"its tags are {', '.join(now.tags)}" if now.tags else "it has no tag"
            raise StoreError(f"{now.path}: is not tagged {name!r}; {has}")
        return {"tags": tuple(tag for tag in now.tags if tag != name)}

    record = amend(run_dir, which, without)
    say(f"{record.path}: no longer tagged {name}")
