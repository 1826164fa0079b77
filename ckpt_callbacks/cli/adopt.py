"""The command ``ckpt adopt``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from ..errors import StoreError
from ..recovery.adoption import Adoption
from ..recovery.rebuild import find_unlisted
from ..run.saved_run import check_is_dir
from ..store.command_lock import command_lock
from ..store.layout import is_run_dir
from ..store.manifest import Manifest
from . import cells, options
from .output import say
from .runs import folders_below, has_checkpoints


@click.command()
@options.run_dir
@click.option("--dry-run", is_flag=True, help="Only list what would be recorded.")
def adopt(run_dir: Path, dry_run: bool) -> None:
    """Record the checkpoints that Lightning's or Keras' own callbacks saved in RUN_DIR.

    Writes a record for each file of ModelCheckpoint and BackupAndRestore in RUN_DIR that has none, from what the file
    itself says: step, epoch, and the metrics by which ModelCheckpoint ranks. Keras' files hold no metrics, also those
    of this package's ModelCheckpoint for Keras. Then, all commands work there. No file is moved or changed, and no code
    in one is run. Files that cannot be read are left alone, and make the exit status 1. Refuses to run while training
    with this package is running there.
    """
    check_is_dir(run_dir)
    options.refuse_mirror(run_dir)
    manifest = Manifest(run_dir)
    manifest.refresh()
    if not os.path.lexists(manifest.layout.journal) and next(find_unlisted(manifest), None) is not None:
        raise StoreError(
            f"{run_dir}: holds checkpoints of ckpt_callbacks, and their manifest is lost; expected it: run "
            f"`ckpt doctor {run_dir}` first"
        )
    found = Adoption(manifest)
    recorded = 0
    with contextlib.ExitStack() as stack:
        if found.records and not dry_run:
            known = len(manifest.records)
            stack.enter_context(command_lock(manifest.layout, "ckpt adopt"))
            manifest.refresh()
            if len(manifest.records) != known:  # another process has recorded some of them meanwhile
                found = Adoption(manifest)
        for repair in found.repairs():
            error = None if dry_run else repair.attempt()
            recorded += error is None
            say(repair.describe(applied=not dry_run, error=error), err=error is not None)
    for line in (*found.left, *found.notes):
        say(f"Warning: {line}", err=True)
    if not found.records:
        say(f"{run_dir}: nothing to adopt{_elsewhere(manifest)}")
    elif recorded and not dry_run:
        without = "" if any(one.metrics for one in found.records) else ", without metrics, because the files say none"
        say(f"{run_dir}: {cells.count(recorded, 'checkpoint')} recorded{without}; `ckpt ls {run_dir}` lists them")
    raise SystemExit(1 if found.left or recorded < len(found.records) else 0)


def _elsewhere(manifest: Manifest) -> str:
    """Return which folder below may be meant, if this one holds no file of any format."""
    run_dir = manifest.layout.dirpath
    if manifest.records or has_checkpoints(run_dir):
        return ""
    meant = next(folders_below(run_dir, lambda one: has_checkpoints(one) and not is_run_dir(one)), None)
    return f"; did you mean {meant}?" if meant is not None else ""
