"""The command ``ckpt thin``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import StoreError, cause_of
from ..formats.compressed.suffix import is_compressed
from ..policy.compression import least_gain, to_compress
from ..policy.contents import COMPRESSIONS, DTYPES, KINDS, PARAMETERS, SOURCES, WEIGHTS, Contents
from ..policy.contents_order import exceeds, held
from ..record import Record, Status
from ..run.compressing import Compressing
from ..run.rewriting import Rewriting, unknown_names
from ..run.view import RunView
from ..store.condition import check_counts, condition
from ..store.manifest import Manifest
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
@click.option("--compression", type=click.Choice(COMPRESSIONS[:2]), help="Compress it, with auto only if it pays.")
@click.option("--source", type=click.Choice(SOURCES), help="Keep the averages, or the weights that are trained.")
@click.option("--weights", type=click.Choice(PARAMETERS), help="Whether to leave out frozen parameters.")
@click.option("--reference", metavar="TEXT", help="Note where what is left out can be found again.")
@click.option("--force", is_flag=True, help="Reduce it even if a run would resume from it.")
def thin(run_dir: Path, which: str | None, config: Path | None, force: bool, **given: Any) -> None:
    """Reduce checkpoints to their weights or to less, or compress them.

    WHICH is an id or a step, a file or a path, a tag, or one of last, best and final. Without WHICH, reduces all
    checkpoints that hold more than the rules of the policy need. The new file has the same name, and is read in the
    same way; no run can resume from it. Pinned checkpoints are not reduced. --compression alone leaves what it holds as
    it is; the file gets another name.
    """
    given = {name: value for name, value in given.items() if value}
    if which is None and not options.is_checkpoint(run_dir):
        if given:
            name = f"--{next(iter(given))}"
            raise StoreError(f"{name}: which checkpoint? expected one, as in `ckpt thin {run_dir} best {name} ...`")
        manifest = options.open_manifest(run_dir)
        view = Listing(manifest, options.required_policy(config, manifest)).view
        plan, due = view.plan(), lambda: list(to_compress(view.plan()))
        found = [(record, plan.needs[record.id]) for record in plan.thin]
    else:
        manifest, name = options.locate(run_dir, which)
        listing = Listing(manifest, options.policy_of(config, manifest))
        chosen = listing.find(name, alone=True)
        wanted = Contents(**{"kind": WEIGHTS.kind, **given})
        _require_more(listing.view, chosen, wanted, force=force)
        found = [] if given.keys() == {"compression"} else [(chosen, wanted)]
        due = lambda: [(manifest.records[chosen.id], wanted)] if wanted.is_compressed else []  # noqa: E731
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
    for record, contents in (packed := due()):
        _compress(manifest, record, contents)
    if not found and not packed:
        say(f"{run_dir}: nothing to reduce")


def _compress(manifest: Manifest, record: Record, contents: Contents) -> None:
    try:
        now = Compressing(manifest, record, least_gain(contents)).carry_out()
    except OSError as error:
        raise StoreError(f"{record.path}: cannot be compressed: {cause_of(error)}") from error
    if now is None:
        raise StoreError(f"{record.path}: was deleted, pinned, tagged or rewritten meanwhile")
    if now.file == record.file:
        say(f"{record.path}: stays native: compression would take {now.compressed['gain']:.1%} off")
    else:
        say(f"{now.path}: compressed, from {rough_size(record.size)} to {rough_size(now.size)}")


def _require_more(view: RunView, record: Record, wanted: Contents, *, force: bool) -> None:
    """Raise `StoreError` if a checkpoint cannot be reduced, holds no more than is wanted, or is not to be reduced."""
    check_counts(record)
    if record.status not in (Status.VERIFIED, Status.THINNED):
        raise StoreError(f"{record.path}: its status is {condition(record)}; expected a checkpoint that is verified")
    if wanted.is_compressed and is_compressed(record.file):
        raise StoreError(f"{record.path}: is compressed already; expected a native checkpoint")
    if not wanted.is_compressed and not exceeds(held(record), wanted):
        raise StoreError(f"{record.path}: holds only {held(record)}; expected one that holds more than {wanted}")
    if record.pinned:
        raise StoreError(f"{record.path}: is not reduced: it is pinned; run `ckpt unpin` first")
    if not force and view.would_resume_from(record):
        raise StoreError(f"{record.path}: is not reduced: a run would resume from it; pass --force to do it anyway")
