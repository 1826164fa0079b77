"""The command ``ckpt tag``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..record import Record
from ..run.saved_run import read_manifest
from ..store.condition import check_exists
from . import options
from .output import say
from .pins import amend, checked_tag, fate_of


@click.command()
@options.run_dir
@options.which_before_name
@options.name
def tag(run_dir: Path, which: str | None, name: str | None) -> None:
    """Give a checkpoint a tag.

    RUN_DIR and WHICH name the checkpoint: its id or step, its file, a tag, or one of last, best and final. The path of
    the checkpoint alone is enough, as in `ckpt tag runs/a/last.ckpt release`. Other commands find the checkpoint
    by its tag; if several have the same tag, by the newest. A tag keeps a checkpoint only if the policy says so
    (KeepTagged). Works while training is running.
    """
    checkpoint, given = options.apart(run_dir, which, name)

    def tagged(now: Record) -> dict[str, Any]:
        check_exists(now)
        return {"tags": tuple(dict.fromkeys((*now.tags, checked_tag(given, read_manifest(Path(now.directory))))))}

    record = amend(run_dir, checkpoint, tagged)
    say(f"{record.path}: tagged {given}{fate_of(Path(record.directory), record, given)}")
