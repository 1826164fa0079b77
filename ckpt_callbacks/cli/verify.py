"""The command ``ckpt verify``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ..errors import VerifyError
from ..record import Record
from ..recovery.rebuild import find_unlisted
from ..store.digest import verify as verify_record
from ..store.manifest import Manifest
from . import cells, options
from .output import printable, say


@click.command()
@options.run_dir
@options.as_json
@click.pass_context
def verify(ctx: click.Context, run_dir: Path, as_json: bool) -> None:
    """Compare every byte with the manifest.

    Reads all checkpoints of RUN_DIR again. The exit status is 1 when one of them, or a line of the manifest, is
    damaged.
    """
    manifest = options.open_manifest(run_dir)
    records = manifest.live()
    checked, bad = 0, 0
    with _progress(sum(record.size for record in records)) as advance:
        for record in records:
            problem = _problem_of(record, advance)
            if problem is not None and _was_deleted(manifest, record):
                continue
            checked, bad = checked + 1, bad + (problem is not None)
            if as_json:
                options.echo_json({**record.to_json(), "ok": problem is None, "problem": problem})
            elif problem is None:
                click.echo(f"{click.style('ok', fg='green')}   {printable(str(record.path))}")
            else:
                click.echo(f"{click.style('BAD', fg='red')}  {printable(problem)}")
    unlisted = _unlisted(manifest)
    for problem in unlisted:
        say(f"Warning: {problem}; run `ckpt doctor {run_dir}`", err=True)
    if not as_json:
        verified = f"{checked - bad} of {cells.count(checked, 'checkpoint')} verified"
        say(verified if checked else f"{run_dir}: no checkpoint yet")
        if manifest.problems:
            click.echo(f"{cells.count(len(manifest.problems), 'line')} of the manifest damaged")
    ctx.exit(1 if bad or unlisted or manifest.problems else 0)


def _problem_of(record: Record, progress: Callable[[int], object]) -> str | None:
    try:
        verify_record(record, from_device=True, progress=progress)
    except VerifyError as error:
        return str(error)
    return None


def _was_deleted(manifest: Manifest, record: Record) -> bool:
    """Return whether a training run deleted a checkpoint while it was being read."""
    manifest.refresh()
    return not manifest.records[record.id].status.on_disk


def _unlisted(manifest: Manifest) -> list[str]:
    """Return one line for each checkpoint that the manifest does not list."""
    found = [repair.problem for repair in find_unlisted(manifest)]
    if not found:
        return []
    manifest.refresh()  # a training run may have saved since, and may save now
    return [repair.problem for repair in find_unlisted(manifest) if repair.problem in found]


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """Draw a progress bar over ``total`` bytes if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    # If the bar and the results are both on the terminal, print results above the bar; if results are piped, do not.
    above = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=above) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
