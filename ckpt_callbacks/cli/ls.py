"""The command ``ckpt ls``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import StoreError
from ..policy.contents import FULL
from ..policy.contents_order import held
from ..policy.mirror import Mirror
from ..record import Record
from ..recovery.originals import hint_to_adopt
from ..store.manifest import Manifest
from ..units import rough_size
from . import cells, options, places, table
from .mirror_listing import MirrorListing
from .output import say
from .records import Listing
from .runs import RunSummary, find_adoptable, find_mirrors, find_runs
from .wishes import mirrors_of, wishes_of, with_rules

_WIDTH = 200  # characters of a piped line


@click.command()
@click.argument("dirs", nargs=-1, metavar="[DIR]...", type=places.AnyPlace())
@options.as_json
@click.option("--all", "everything", is_flag=True, help="Include deleted checkpoints and all failed saves.")
@click.option("--why", is_flag=True, help="Show why each checkpoint was saved, and why it is kept.")
@options.config
@places.storage_options
def ls(
    dirs: tuple[Path | Mirror, ...],
    as_json: bool,
    everything: bool,
    why: bool,
    config: Path | None,
    storage_options: Mapping[str, Any],
) -> None:
    """List the checkpoints of a run, or of a mirror, or the runs of a sweep.

    If DIR is a run directory, or a mirror such as s3://bucket/run, shows one line for each checkpoint. If it holds run
    directories, or if there are several, shows one line for each run: its newest checkpoint, and the value of its best
    one. Without DIR, looks in the working directory.
    """
    mirrors = [place for place in dirs if isinstance(place, Mirror)]
    if mirrors and len(dirs) > 1:
        raise StoreError(f"{mirrors[0].url}: is a mirror; expected it alone, without another DIR")
    if mirrors:
        _list_mirror(mirrors[0], storage_options, as_json=as_json, why=why, config=config)
    else:
        paths = [place for place in dirs if isinstance(place, Path)] or [Path()]
        _list_dirs(paths, as_json=as_json, everything=everything, why=why, config=config)


def _list_mirror(mirror: Mirror, given: Mapping[str, Any], *, as_json: bool, why: bool, config: Path | None) -> None:
    store = places.opened(mirror, given)
    catalog = places.catalog_of(store)
    policy = options.policy_of(config, catalog)
    wishes = wishes_of(with_rules(mirror, mirrors_of(catalog, config)), policy)
    listing = MirrorListing(store.url, catalog, policy, wishes)
    if not as_json and not listing.records:
        say(f"{store.url}: no checkpoint yet")
    _print(listing, listing.records, as_json=as_json, why=why, width=None if why else _WIDTH)


def _list_dirs(dirs: Sequence[Path], *, as_json: bool, everything: bool, why: bool, config: Path | None) -> None:
    runs = list(dict.fromkeys(run for path in dirs for run in find_runs(path)))
    if (len(dirs) > 1 or runs != [dirs[0]]) and runs:
        if everything or why:
            option = "--all" if everything else "--why"
            raise StoreError(f"{option}: got {len(runs)} runs; expected the directory of one run, such as {runs[0]}")
        _list_runs(runs, as_json=as_json, config=config)
        return
    run_dir = dirs[0]
    if len(dirs) > 1:
        raise StoreError(f"{run_dir}: neither it nor any other DIR is a run directory, or holds one")
    if not runs and (mirrors := list(find_mirrors(run_dir))):
        raise StoreError(
            f"{run_dir}: holds no run directory, but {cells.count(len(mirrors), 'mirror')}; expected one of them, as "
            f"in `ckpt ls {mirrors[0]}`"
        )
    if not runs and (folder := next(find_adoptable(run_dir), run_dir)) != run_dir:
        raise StoreError(
            f"{run_dir}: holds no run directory, but {folder} holds checkpoints: {hint_to_adopt(Manifest(folder))}"
        )
    manifest = options.open_manifest(run_dir)
    listing = Listing(manifest, options.policy_of(config, manifest), everything=everything)
    records, hidden = listing.listed(everything)
    _print(listing, records, as_json=as_json, why=why, width=None if why or everything else _WIDTH)
    if not records and not (as_json or hidden):
        say(f"{run_dir}: no checkpoint yet")
    elif hidden and (sys.stdout.isatty() or not records) and not as_json:
        click.echo(click.style(f"{hidden}; --all shows them", dim=True))


def _print(
    listing: Listing | MirrorListing, records: Sequence[Record], *, as_json: bool, why: bool, width: int | None
) -> None:
    if as_json:
        for record in records:
            options.echo_json(record.to_json())
    elif records:
        table.print_rows([_row(listing, record, why=why) for record in records], records, width=width)


def _row(listing: Listing | MirrorListing, record: Record, *, why: bool) -> dict[str, str]:
    reasons, contents = dict[str, str](), held(record)
    if why:
        kept = listing.kept.get(record.id, ())
        reasons = {"saved because": "; ".join(record.reasons), "kept because": "; ".join(kept)}
    return {
        "id": str(record.id),
        "file": record.file,
        "step": cells.known(record, "step"),
        "epoch": cells.known(record, "epoch"),
        "metrics": ", ".join(f"{name}={cells.number(value)}" for name, value in listing.measured(record)),
        "size": rough_size(record.size) if record.size else "",
        "contents": "" if contents == FULL else str(contents),
        "status": cells.short_status(record, missing=record.id in listing.missing),
        "saved": cells.when(record),
        "aliases": ", ".join(listing.aliases.get(record.id, ())),
        "tags": ", ".join((*record.tags, *(("pinned",) if record.pinned else ()))),
        **reasons,
        "error": record.error or "",
    }


def _list_runs(runs: list[Path], *, as_json: bool, config: Path | None) -> None:
    """Print one line for each run; those that cannot be read go to standard error, and make the exit status 1."""
    summaries, unread = [], 0
    for run_dir in runs:
        try:
            manifest = options.open_manifest(run_dir)
            summaries.append(RunSummary(run_dir, manifest, options.policy_of(config, manifest)))
        except StoreError as error:
            unread += 1
            say(f"Warning: {error}", err=True)
    if as_json:
        for summary in summaries:
            options.echo_json(summary.to_json())
    elif summaries:
        table.print_rows([summary.row() for summary in summaries], width=_WIDTH)
    raise SystemExit(1 if unread else 0)
