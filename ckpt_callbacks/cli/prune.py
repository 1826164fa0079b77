"""The command ``ckpt prune``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import StoreError, cause_of
from ..run.manual_pruning import Pruning, Removal
from ..units import rough_size
from . import cells, options
from .local_path import LocalPath
from .output import say


@click.command()
@options.run_dir
@options.config
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@click.option("--plan", "plan", type=LocalPath(), help="Write what would be deleted to this file, and delete nothing.")
@click.option("--apply", "apply", type=LocalPath(), help="Delete what this file lists; see --plan.")
def prune(run_dir: Path, config: Path | None, dry_run: bool, plan: Path | None, apply: Path | None) -> None:
    """Delete the checkpoints that the retention rules do not keep.

    The rules are those of the newest training run, or of the file that --config names; max_total_size is that of the
    run. Checkpoints that are pinned or tagged, that a link names, or from which a run would resume always stay. Works
    while training is running. --apply deletes nothing unless everything in the plan may still be deleted.
    """
    if plan is not None and apply is not None:
        raise click.UsageError("--plan and --apply: got both; expected one of them")
    manifest = options.open_manifest(run_dir)
    pruning = Pruning(manifest, options.required_policy(config, manifest))
    removals = pruning.removals() if apply is None else _read(pruning, apply)
    if plan is not None:
        plan.write_text("".join(f"{json.dumps(removal.to_json())}\n" for removal in removals))
        say(f"{plan}: {cells.count(len(removals), 'checkpoint')} to delete")
        return
    stayed = carry_out(pruning, removals, run_dir, dry_run=dry_run)
    raise SystemExit(1 if stayed else 0)


def carry_out(pruning: Pruning, removals: list[Removal], run_dir: Path, *, dry_run: bool) -> int:
    """Delete checkpoints, say so, and return how many of them stay nevertheless."""
    gone = []
    try:
        for removal in removals:
            is_gone = dry_run or pruning.delete(removal)
            if is_gone:
                gone.append(removal.record)
            stays = "stays: it was changed meanwhile, or cannot be deleted now"
            say(f"{removal.record.path}: {'would be deleted' if dry_run else 'deleted' if is_gone else stays}")
    except OSError as error:
        raise StoreError(f"{run_dir}: cannot be written: {cause_of(error)}") from error
    finally:
        pruning.close()
    freed = rough_size(sum(record.size for record in gone))
    if removals:
        say(f"{run_dir}: {cells.count(len(gone), 'checkpoint')}, {freed}{' would be' if dry_run else ''} freed")
    else:
        say(f"{run_dir}: nothing to delete")
    return len(removals) - len(gone)


def _read(pruning: Pruning, path: Path) -> list[Removal]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; expected a file that --plan wrote") from error
    return list(pruning.read(lines, str(path)))
