"""The command ``ckpt save``."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.locked_file import is_locked
from . import options


@click.command()
@options.run_dir
def save(run_dir: Path) -> None:
    """Ask the training run in RUN_DIR for a checkpoint.

    It saves at its next step, regardless of its policy. The exit status is 1 when no training is running there.
    """
    layout = options.open_manifest(run_dir).layout
    if not is_locked(layout.training_lock):
        click.echo(f"{run_dir}: no training is running here", err=True)
        raise SystemExit(1)
    layout.save_now.touch()
    click.echo(f"{run_dir}: the training run was asked to save at its next step")
