"""The command ``ckpt rm``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import StoreError, cause_of
from ..run.manual_removal import remove_by_hand
from . import options
from .output import say
from .records import Listing


@click.command()
@options.run_dir
@options.which
@click.option("--force", is_flag=True, help="Delete it even if pinned, the last or best one, or needed for a resume.")
def rm(run_dir: Path, which: str | None, force: bool) -> None:
    """Delete one checkpoint.

    WHICH is its id or step, its file or path, a tag, or one of last, best and final. A name that could mean two
    checkpoints is refused. A checkpoint that is pinned, that one of the links names, or from which a run would resume
    is deleted only with --force, and the links and the resume point only while no training is running. What is left of
    a failed save, or of a damaged file, is deleted with --force.
    """
    manifest, name = options.locate(run_dir, which)
    policy = options.policy_of(None, manifest)
    listing = Listing(manifest, policy)
    record, view = listing.find(name, alone=True), listing.view
    before = view.aliases()
    try:
        gone = remove_by_hand(manifest, policy, record, force=force)
    except OSError as error:
        raise StoreError(f"{run_dir}: cannot be written: {cause_of(error)}") from error
    moved = "".join(
        f"; {link} is now {now.file}" if now is not None else f"; there is no {link} any more"
        for link, now in view.aliases().items()
        if before[link] != now
    )
    say(f"{record.path}: deleted{moved}" if gone else f"{record.path}: no longer counts, but is still there{moved}")
