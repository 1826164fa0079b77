"""The command ``ckpt verify``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click

from ..errors import StoreError, VerifyError, cause_of, printable
from ..record import Record, Status
from ..recovery.rebuild import find_unlisted
from ..recovery.returned import find_returned
from ..recovery.unreadable import find_unreadable
from ..store.condition import check_counts
from ..store.manifest import Manifest
from ..store.replacement import verify_now
from . import cells, options
from .output import say
from .progress import progress_bar
from .records import Listing


@click.command()
@options.run_dir
@options.which
@options.as_json
@click.pass_context
def verify(ctx: click.Context, run_dir: Path, which: str | None, as_json: bool) -> None:
    """Compare every byte with the manifest.

    Reads all checkpoints of RUN_DIR again, or only WHICH: an id, a step, a file, a tag, or one of last, best and final.
    The path of a checkpoint alone names it, too. The exit status is 1 when one of them, or a line of the manifest or of
    the history, is damaged.
    """
    if which is not None or options.is_checkpoint(run_dir):
        manifest, name = options.locate(run_dir, which)
        records = [Listing(manifest, options.policy_of(None, manifest)).find(name, may_be_missing=True)]
        check_counts(records[0])
        discarded, unlisted, unreadable, damaged = [], [], [], 0
    else:
        manifest = options.open_manifest(run_dir)
        records, unlisted = manifest.live(), _unlisted(manifest)
        discarded = [r for r in _discarded(manifest) if not any(line.startswith(f"{r.path}: ") for line in unlisted)]
        unreadable = [found.problem for found in find_unreadable(manifest)]
        damaged = _damaged_lines(manifest)
    checked, bad = 0, 0
    with progress_bar(sum(record.size for record in records)) as (advance, show):
        for record in records:
            problem = _problem_of(manifest, record, advance)
            if problem is not None and _was_deleted(manifest, record):
                continue
            checked, bad = checked + 1, bad + (problem is not None)
            if as_json:
                show(json.dumps({**record.to_json(), "ok": problem is None, "problem": problem}))
            elif problem is None:
                show(f"{click.style('ok', fg='green')}   {printable(str(record.path))}")
            else:
                show(f"{click.style('BAD', fg='red')}  {printable(problem)}")
    for problem in unlisted:
        say(f"Warning: {problem}; run `ckpt doctor {run_dir}`", err=True)
    for problem in unreadable:
        say(f"Warning: {problem}; it can be deleted", err=True)
    if not as_json:
        for record in discarded:
            advice = f"`ckpt rm {record.directory} {record.id} --force` deletes it"
            say(f"bad, as recorded: {record.path}: {record.error}; it no longer counts; {advice}")
        verified = f"{checked - bad} of {cells.count(checked, 'checkpoint')} verified"
        say(verified if checked else f"{run_dir}: no checkpoint yet")
        if manifest.problems:
            click.echo(f"{cells.count(len(manifest.problems), 'line')} of the manifest damaged")
        if damaged:
            say(f"{cells.count(damaged, 'line')} of the history damaged; run `ckpt doctor {run_dir}`")
    ctx.exit(1 if bad or discarded or unlisted or manifest.problems or damaged else 0)


def _damaged_lines(manifest: Manifest) -> int:
    """Return the number of damaged lines of the history. If it cannot be read, say so: no checkpoint depends on it."""
    try:
        return len(manifest.history.damaged())
    except StoreError as error:
        say(f"Warning: {error}", err=True)
    except OSError as error:
        say(f"Warning: {manifest.history.path}: cannot be read: {cause_of(error)}", err=True)
    return 0


def _problem_of(manifest: Manifest, record: Record, progress: Callable[[int], object]) -> str | None:
    try:
        verify_now(manifest, record, from_device=True, progress=progress)
    except VerifyError as error:
        return str(error)
    return None


def _was_deleted(manifest: Manifest, record: Record) -> bool:
    """Return whether a training run deleted a checkpoint while it was being read."""
    manifest.refresh()
    return not manifest.counts(record.id)


def _discarded(manifest: Manifest) -> list[Record]:
    """Return the records that were marked as failed because of their bytes, and whose file is still there."""
    named = {record.file for record in manifest.live()}
    failed = [r for r in manifest.records.values() if r.status is Status.FAILED and r.digest and r.file not in named]
    return [record for record in failed if os.path.lexists(record.path)]


def _unlisted(manifest: Manifest) -> list[str]:
    """Return one line for each intact checkpoint that the manifest does not list, or calls missing or damaged."""

    def look() -> list[str]:
        return [found.problem for found in (*find_unlisted(manifest), *find_returned(manifest, thoroughly=True))]

    if not (found := look()):
        return []
    manifest.refresh()  # a training run may have saved since, and may save now
    return [problem for problem in look() if problem in found]
