"""The command ``ckpt save``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import StoreError
from ..run.save_now_file import request_save
from ..store.file_lock_calls import is_locked
from ..store.lock import command_at_work
from . import options
from .output import say
from .pins import checked_tag


@click.command()
@options.run_dir
@click.option("--tag", metavar="NAME", help="A name for the checkpoint, by which other commands find it.")
def save(run_dir: Path, tag: str | None) -> None:
    """Ask the training run in RUN_DIR for a checkpoint.

    It saves at its next step, regardless of its policy, and pins the checkpoint, so that no retention rule deletes it.
    The exit status is 1 when no training is running there.
    """
    manifest = options.open_manifest(run_dir)
    layout = manifest.layout
    if tag is not None:
        checked_tag(tag, manifest)
    command = command_at_work(layout.training_lock, layout.owner)
    if command is not None or not is_locked(layout.training_lock, unknown=True):
        say(f"{run_dir}: no training is running here", err=True)
        raise SystemExit(1)
    try:
        request_save(layout.save_now, tag)
    except OSError as error:
        raise StoreError(f"{layout.save_now}: cannot be written: {error.strerror or error}") from error
    say(f"{run_dir}: the training run was asked to save at its next step")
