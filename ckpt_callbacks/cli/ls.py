"""The command ``ckpt ls``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import StoreError
from ..policy.contents import FULL
from ..policy.contents_order import held
from ..record import Record
from ..units import rough_size
from . import cells, options, table
from .local_path import LocalPath
from .output import say
from .records import Listing
from .runs import RunSummary, find_runs

_WIDTH = 200  # characters of a piped line


@click.command()
@click.argument("dirs", nargs=-1, required=True, metavar="DIR...", type=LocalPath())
@options.as_json
@click.option("--all", "everything", is_flag=True, help="Include deleted checkpoints and all failed saves.")
@click.option("--why", is_flag=True, help="Show why each checkpoint was saved, and why it is kept.")
@options.config
def ls(dirs: tuple[Path, ...], as_json: bool, everything: bool, why: bool, config: Path | None) -> None:
    """List the checkpoints of a run, or the runs of a sweep.

    If DIR is a run directory, shows one line for each checkpoint. If it holds run directories, or if there are several,
    shows one line for each run: its newest checkpoint, and the value of its best one.
    """
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
    manifest = options.open_manifest(run_dir)
    listing = Listing(manifest, options.policy_of(config, manifest), everything=everything)
    records, hidden = listing.listed(everything)
    if as_json:
        for record in records:
            options.echo_json(record.to_json())
    elif records:
        rows = [_row(listing, record, why=why) for record in records]
        table.print_rows(rows, records, width=None if why or everything else _WIDTH)
    if not records and not (as_json or hidden):
        say(f"{run_dir}: no checkpoint yet")
    elif hidden and (sys.stdout.isatty() or not records) and not as_json:
        click.echo(click.style(f"{hidden}; --all shows them", dim=True))


def _row(listing: Listing, record: Record, *, why: bool) -> dict[str, str]:
    reasons = {
        "saved because": "; ".join(record.reasons),
        "kept because": "; ".join(listing.kept.get(record.id, ())),
    }
    return {
        "id": str(record.id),
        "file": record.file,
        "step": str(record.step),
        "epoch": str(record.epoch),
        "metrics": ", ".join(f"{name}={cells.number(value)}" for name, value in listing.measured(record)),
        "size": rough_size(record.size) if record.size else "",
        "contents": "" if held(record) == FULL else str(held(record)),
        "status": cells.short_status(record, missing=record.id in listing.missing),
        "saved": cells.when(record),
        "aliases": ", ".join(listing.aliases.get(record.id, ())),
        "tags": ", ".join((*record.tags, *(("pinned",) if record.pinned else ()))),
        **(reasons if why else {}),
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
