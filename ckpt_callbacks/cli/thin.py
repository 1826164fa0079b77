"""The command ``ckpt thin``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import StoreError, cause_of
from ..formats.packed.suffix import is_packed
from ..policy.contents import COMPRESSIONS, DTYPES, KINDS, PARAMETERS, SOURCES, WEIGHTS, Contents
from ..policy.contents_order import held, holds_more
from ..policy.packing import to_pack
from ..record import Record, Status
from ..run.repacking import Repacking
from ..run.rewriting import Rewriting, unknown_names
from ..run.thinning import packing_for
from ..run.view import RunView
from ..store.condition import check_counts, condition
from ..store.manifest import Manifest
from ..units import rough_size
from . import options
from .output import say
from .records import Listing

_Work = Callable[[Manifest, Record, Contents], None]


@click.command()
@options.run_dir
@options.which
@options.config
@click.option("--kind", type=click.Choice(KINDS), help="What stays; by default, the weights.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Round the weights to this type.")
@click.option("--drop", multiple=True, metavar="NAME", help="Leave out this part of the model; may be repeated.")
@click.option("--compression", type=click.Choice(COMPRESSIONS[:2]), help="Compress it, with auto only if it pays.")
@click.option("--shards", metavar="SIZE", help="Split it into files of at most this size, such as 5GB.")
@click.option("--source", type=click.Choice(SOURCES), help="Keep the averages, or the weights that are trained.")
@click.option("--weights", type=click.Choice(PARAMETERS), help="Whether to leave out frozen parameters.")
@click.option("--reference", metavar="TEXT", help="Note where what is left out can be found again.")
@click.option("--force", is_flag=True, help="Reduce it even if a run would resume from it.")
def thin(run_dir: Path, which: str | None, config: Path | None, force: bool, **given: Any) -> None:
    """Reduce checkpoints to their weights or to less, compress them, or split them into several files.

    WHICH is an id or a step, a file or a path, a tag, or one of last, best and final. Without WHICH, reduces all
    checkpoints that hold more than the rules of the policy need. The new file has the same name, and is read in the
    same way; no run can resume from it. Pinned checkpoints are not reduced. --compression alone leaves what it holds as
    it is; the file gets another name. With --shards, a folder takes its place.
    """
    given = {name: value for name, value in given.items() if value}
    if "shards" in given:
        given["shards"] = {"max_size": given["shards"]}
    if which is None and not options.is_checkpoint(run_dir):
        if given:
            name = f"--{next(iter(given))}"
            raise StoreError(f"{name}: which checkpoint? expected one, as in `ckpt thin {run_dir} best {name} ...`")
        manifest = options.open_manifest(run_dir)
        view = Listing(manifest, options.required_policy(config, manifest)).view
        plan, due = view.plan(), lambda: list(to_pack(view.plan()))
        found = [(record, plan.needs[record.id]) for record in plan.thin]
    else:
        manifest, name = options.locate(run_dir, which)
        listing = Listing(manifest, options.policy_of(config, manifest))
        chosen = listing.find(name, alone=True)
        wanted = Contents(**{"kind": WEIGHTS.kind, **given})
        _require_more(listing.view, chosen, wanted, force=force)
        is_reduced = not holds_more(chosen, wanted) if wanted.split is not None else given.keys() == {"compression"}
        found = [] if is_reduced else [(chosen, wanted)]
        due = lambda: [(manifest.records[chosen.id], wanted)] if wanted.is_packed else []  # noqa: E731
    alone = which is not None or options.is_checkpoint(run_dir)
    failed = sum(not _done(_reduce, manifest, record, contents, alone=alone) for record, contents in found)
    packed = due()
    failed += sum(not _done(_pack, manifest, record, contents, alone=alone) for record, contents in packed)
    if not found and not packed:
        say(f"{run_dir}: nothing to reduce")
    raise SystemExit(1 if failed else 0)


class _Overtaken(StoreError):
    """A checkpoint was deleted, named or rewritten by somebody else."""


def _done(work: _Work, manifest: Manifest, record: Record, contents: Contents, *, alone: bool) -> bool:
    """Rewrite one checkpoint. Of several, one that cannot be rewritten is named in a line, and stops no other.

    Returns:
        False if it should have been rewritten, and could not be.
    """
    try:
        work(manifest, record, contents)
    except StoreError as error:
        if alone:
            raise
        is_overtaken = isinstance(error, _Overtaken)
        say(str(error) if is_overtaken else f"Warning: {error}", err=not is_overtaken)
        return is_overtaken
    return True


def _reduce(manifest: Manifest, record: Record, contents: Contents) -> None:
    now = _rewritten(Rewriting(manifest, record, contents), manifest, record, "reduced")
    say(f"{record.path}: reduced to {held(now)}, from {rough_size(record.size)} to {rough_size(now.size)}")
    if problem := unknown_names(now):
        say(f"Warning: {record.path}: {problem}", err=True)


def _pack(manifest: Manifest, record: Record, contents: Contents) -> None:
    if contents.split is not None and record.size <= contents.split.max_size:
        say(f"{record.path}: stays one file: it has {rough_size(record.size)}")
        return
    packing = packing_for(contents)
    now = _rewritten(Repacking(manifest, record, packing), manifest, record, packing.done)
    if now.file == record.file:
        say(f"{record.path}: stays native: compression would take {now.compressed['gain']:.1%} off")
    elif contents.split is not None:
        say(f"{now.path}: split, {rough_size(now.size)} in {len(list(now.path.iterdir()))} files")
    else:
        say(f"{now.path}: compressed, from {rough_size(record.size)} to {rough_size(now.size)}")


def _rewritten(work: Rewriting | Repacking, manifest: Manifest, record: Record, what: str) -> Record:
    """Carry out the work, and return the changed record.

    Raises:
        StoreError: It failed; `_Overtaken` if somebody else has changed the checkpoint meanwhile.
    """
    try:
        now = work.carry_out()
    except (OSError, StoreError) as error:
        manifest.refresh()
        now = manifest.records.get(record.id)
        if now is not None and (now.file, now.digest, now.status) == (record.file, record.digest, record.status):
            cause = cause_of(error) if isinstance(error, OSError) else error
            raise StoreError(f"{record.path}: cannot be {what}: {cause}") from error
        now = None
    if now is None:
        raise _Overtaken(f"{record.path}: was deleted, pinned, tagged or rewritten meanwhile")
    return now


def _require_more(view: RunView, record: Record, wanted: Contents, *, force: bool) -> None:
    """Raise `StoreError` if a checkpoint cannot be reduced, holds no more than is wanted, or is not to be reduced."""
    check_counts(record)
    if record.status not in (Status.VERIFIED, Status.THINNED):
        raise StoreError(f"{record.path}: its status is {condition(record)}; expected a checkpoint that is verified")
    if wanted.is_packed and is_packed(record.file):
        raise StoreError(f"{record.path}: is {_form(record)} already; expected a native checkpoint")
    if not wanted.is_packed and not holds_more(record, wanted):
        raise StoreError(f"{record.path}: holds only {held(record)}; expected one that holds more than {wanted}")
    if record.pinned:
        raise StoreError(f"{record.path}: is not reduced: it is pinned; run `ckpt unpin` first")
    if not force and view.would_resume_from(record):
        raise StoreError(f"{record.path}: is not reduced: a run would resume from it; pass --force to do it anyway")


def _form(record: Record) -> str:
    return "compressed" if record.compressed else "split"
