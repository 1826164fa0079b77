"""The command ``ckpt gc``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import StoreError
from ..run.manual_pruning import Pruning
from ..store.file_lock_calls import is_locked
from ..store.lock import command_at_work
from ..store.manifest import Manifest
from . import cells, options
from .local_path import LocalPath
from .output import say
from .prune import carry_out
from .runs import find_runs


@click.command()
@click.argument("root", type=LocalPath())
@click.option("--dead", is_flag=True, required=True, help="Look at the runs that nobody trains in.")
@click.option("--delete", "delete", is_flag=True, help="Delete what is listed; without it, nothing is deleted.")
def gc(root: Path, dead: bool, delete: bool) -> None:
    """Delete what the policies of dead runs do not keep, in all run directories below ROOT.

    A run is dead if no training is running in it, and if none of its checkpoints is pinned or tagged. Without --delete,
    this only lists what would be deleted.
    """
    runs, stayed, idle = list(find_runs(root)), 0, 0
    if not runs:
        raise StoreError(f"{root}: holds no run directory; expected a folder of runs, such as runs")
    for run_dir in runs:
        try:
            manifest = options.open_manifest(run_dir)
            if (why := _why_alive(manifest)) is not None:
                say(f"{run_dir}: left alone: {why}")
                continue
            pruning = Pruning(manifest, options.required_policy(None, manifest))
            removals = pruning.removals()
            if not removals:
                pruning.close()
                idle += 1
                continue
            stayed += carry_out(pruning, removals, run_dir, dry_run=not delete)
        except StoreError as error:  # the others can still be freed
            say(f"Warning: {error}", err=True)
            stayed += 1
    if idle:
        say(f"{root}: nothing to delete in {idle} of {cells.count(len(runs), 'run')}")
    raise SystemExit(1 if stayed else 0)


def _why_alive(manifest: Manifest) -> str | None:
    """Return why a run is not dead; None if it is."""
    layout = manifest.layout
    if (command := command_at_work(layout.training_lock, layout.owner)) is not None:
        return f"`{command}` is at work"
    if is_locked(layout.training_lock):
        return "training is running"
    for record in manifest.live():
        if record.tags or record.pinned:
            return f"{record.file} is {f'tagged {record.tags[0]}' if record.tags else 'pinned'}"
    return None
