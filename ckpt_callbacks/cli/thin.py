"""The command ``ckpt thin``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import StoreError, cause_of
from ..policy.contents import DTYPES, KINDS, WEIGHTS, Contents
from ..policy.contents_order import exceeds, held
from ..record import Record, Status
from ..run.rewriting import Rewriting, unknown_names
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
@click.option("--kind", type=click.Choice(KINDS), help="What stays; by default, the weights.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Round the weights to this type.")
@click.option("--drop", multiple=True, metavar="NAME", help="Leave out this part of the model; may be repeated.")
@click.option("--reference", metavar="TEXT", help="Note where the dropped weights can be found again.")
@click.option("--force", is_flag=True, help="Reduce it even if a run would resume from it.")
def thin(run_dir: Path, which: str | None, config: Path | None, force: bool, **given: Any) -> None:
    """Reduce checkpoints to their weights, or to less.

    WHICH is an id or a step, a file or a path, a tag, or one of last, best and final. Without WHICH, reduces all
    checkpoints that hold more than the rules of the policy need. The new file has the same name, and is read in the
    same way; no run can resume from it. Pinned checkpoints are not reduced.
    """
    given = {name: value for name, value in given.items() if value}
    if which is None and not options.is_checkpoint(run_dir):
        if given:
            name = f"--{next(iter(given))}"
            raise StoreError(f"{name}: which checkpoint? expected one, as in `ckpt thin {run_dir} best {name} ...`")
        manifest = options.open_manifest(run_dir)
        plan = Listing(manifest, options.required_policy(config, manifest)).view.plan()
        found = [(record, plan.needs[record.id]) for record in plan.thin]
    else:
        manifest, name = options.locate(run_dir, which)
        listing = Listing(manifest, options.policy_of(config, manifest))
        chosen = listing.find(name, alone=True)
        wanted = Contents(**{"kind": WEIGHTS.kind, **given})
        _require_more(listing.view, chosen, wanted, force=force)
        found = [(chosen, wanted)]
    for record, contents in found:
        try:
            now = Rewriting(manifest, record, contents).carry_out()
        except OSError as error:
            raise StoreError(f"{record.path}: cannot be reduced: {cause_of(error)}") from error
        except StoreError as error:
            raise StoreError(f"{record.path}: cannot be reduced: {error}") from error
        if now is None:
            raise StoreError(f"{record.path}: was deleted, pinned, tagged or reduced meanwhile")
        say(f"{record.path}: reduced to {held(now)}, from {rough_size(record.size)} to {rough_size(now.size)}")
        if problem := unknown_names(now):
            say(f"Warning: {record.path}: {problem}", err=True)
    if not found:
        say(f"{run_dir}: nothing to reduce")


def _require_more(view: RunView, record: Record, wanted: Contents, *, force: bool) -> None:
    """Raise `StoreError` if a checkpoint cannot be reduced, holds no more than is wanted, or is not to be reduced."""
    check_counts(record)
    if record.status not in (Status.VERIFIED, Status.THINNED):
        raise StoreError(f"{record.path}: its status is {condition(record)}; expected a checkpoint that is verified")
    if not exceeds(held(record), wanted):
        raise StoreError(f"{record.path}: holds only {held(record)}; expected one that holds more than {wanted}")
    if record.pinned:
        raise StoreError(f"{record.path}: is not reduced: it is pinned; run `ckpt unpin` first")
    if not force and view.would_resume_from(record):
        raise StoreError(f"{record.path}: is not reduced: a run would resume from it; pass --force to do it anyway")
