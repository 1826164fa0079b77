"""The command ``ckpt thin``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import StoreError, cause_of
from ..policy.contents import WEIGHTS
from ..record import Record, Status
from ..run.rewriting import Rewriting
from ..run.view import RunView
from ..store.condition import check_counts, condition
from ..units import rough_size
from . import options
from .output import say
from .records import Listing


@click.command()
@options.run_dir
@options.which
@options.config
@click.option("--force", is_flag=True, help="Reduce it even if a run would resume from it.")
def thin(run_dir: Path, which: str | None, config: Path | None, force: bool) -> None:
    """Reduce full checkpoints to their weights.

    WHICH is an id or a step, a file or a path, a tag, or one of last, best and final. Without WHICH, reduces all
    checkpoints of which the rules of the policy need only the weights. The new file has the same name, and is read in
    the same way; no run can resume from it. Pinned checkpoints are not reduced.
    """
    if which is None and not options.is_checkpoint(run_dir):
        manifest = options.open_manifest(run_dir)
        plan = Listing(manifest, options.required_policy(config, manifest)).view.plan()
        found = [(record, plan.needs[record.id]) for record in plan.thin]
    else:
        manifest, name = options.locate(run_dir, which)
        listing = Listing(manifest, options.policy_of(config, manifest))
        chosen = listing.find(name, alone=True)
        _require_whole(listing.view, chosen, force=force)
        found = [(chosen, WEIGHTS)]
    for record, contents in found:
        try:
            now = Rewriting(manifest, record, contents).carry_out()
        except OSError as error:
            raise StoreError(f"{record.path}: cannot be reduced: {cause_of(error)}") from error
        except StoreError as error:
            raise StoreError(f"{record.path}: cannot be reduced: {error}") from error
        if now is None:
            raise StoreError(f"{record.path}: was deleted, pinned, tagged or reduced meanwhile")
        say(f"{record.path}: reduced from {rough_size(record.size)} to {rough_size(now.size)}")
    if not found:
        say(f"{run_dir}: nothing to reduce")


def _require_whole(view: RunView, record: Record, *, force: bool) -> None:
    """Raise `StoreError` if a checkpoint cannot be reduced, or is not to be."""
    check_counts(record)
    if record.status is not Status.VERIFIED or record.contents != "full":
        what = "holds only weights" if record.contents != "full" else f"its status is {condition(record)}"
        raise StoreError(f"{record.path}: {what}; expected a full checkpoint that is verified")
    if record.pinned:
        raise StoreError(f"{record.path}: is not reduced: it is pinned; run `ckpt unpin` first")
    if not force and view.would_resume_from(record):
        raise StoreError(f"{record.path}: is not reduced: a run would resume from it; pass --force to do it anyway")
