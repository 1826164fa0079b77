"""The command ``ckpt doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import StoreError, cause_of
from ..recovery.diagnosis import examine
from ..run.saved_run import check_is_dir
from . import options
from .output import say


@click.command()
@options.run_dir
@click.option("--dry-run", is_flag=True, help="Only report what is wrong.")
@options.config
def doctor(run_dir: Path, dry_run: bool, config: Path | None) -> None:
    """Check a run directory and repair it.

    Reads all checkpoints of RUN_DIR again. Rebuilds a lost or damaged manifest from the records in the checkpoints,
    finishes or undoes what a killed training run left unfinished, marks damaged checkpoints as failed, and corrects
    links. Refuses to run while training is running there. With --dry-run, the exit status is 1 when something is wrong.
    What follows from moving a file back into its place is reported only once that is done. While training is
    running, only the manifest and the bytes of the checkpoints are checked, because training finishes the rest itself.
    """
    check_is_dir(run_dir)
    options.refuse_mirror(run_dir)
    found = 0
    try:
        for line in examine(run_dir, lambda manifest: options.policy_of(config, manifest), repair=not dry_run):
            found += 1
            say(line)
    except OSError as error:
        raise StoreError(f"{run_dir}: could not be repaired: {cause_of(error)}") from error
    if not found:
        say(f"{run_dir}: nothing is wrong")
    raise SystemExit(1 if found and dry_run else 0)
