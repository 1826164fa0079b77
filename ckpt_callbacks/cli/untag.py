"""The command ``ckpt untag``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import StoreError, listed
from ..record import Record
from . import options
from .output import say
from .pins import amend


@click.command()
@options.run_dir
@options.which_before_name
@options.name
def untag(run_dir: Path, which: str | None, name: str | None) -> None:
    """Take a tag away from a checkpoint.

    RUN_DIR and WHICH name the checkpoint: its id or step, its file, a tag, or one of last, best and final. The path of
    the checkpoint alone is enough, and so is RUN_DIR alone, if only one checkpoint has the tag.
    """
    checkpoint, given = options.apart(run_dir, which, name)
    if checkpoint is None and not options.is_checkpoint(run_dir):
        checkpoint = _tagged(run_dir, given)

    def without(now: Record) -> Mapping[str, Any]:
        if given not in now.tags:
            has = f"its tags are {', '.join(now.tags)}" if now.tags else "it has no tag"
            raise StoreError(f"{now.path}: is not tagged {given!r}; {has}")
        return {"tags": tuple(tag for tag in now.tags if tag != given)}

    record = amend(run_dir, checkpoint, without)
    say(f"{record.path}: no longer tagged {given}")


def _tagged(run_dir: Path, tag: str) -> str:
    """Return the name of the file of the only checkpoint that has a tag.

    Raises:
        StoreError: No checkpoint has it, or several have.
    """
    live = options.open_manifest(run_dir).live()
    files = [record.file for record in live if tag in record.tags]
    if not files:
        tags = sorted({name for record in live for name in record.tags})
        others = f"the tags are {listed(tags)}" if tags else "none has a tag"
        raise StoreError(f"{run_dir}: no checkpoint is tagged {tag!r}; {others}")
    if len(files) > 1:
        raise StoreError(
            f"{run_dir}: {len(files)} checkpoints are tagged {tag!r} ({listed(files)}); say which one, as in "
            f"`ckpt untag {run_dir} {files[0]} {tag}`"
        )
    return files[0]
