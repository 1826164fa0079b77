"""The arguments and options that commands share, and what they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import StoreError
from ..mirrors.catalog import Catalog
from ..policy.policy import Policy
from ..record import ALIASES
from ..run.saved_run import policy_of_starts, read_manifest
from ..store.layout import is_run_dir
from ..store.manifest import Manifest
from .local_path import LocalPath
from .output import say
from .places import is_mirror

run_dir = click.argument("run_dir", type=LocalPath())
which = click.argument("which", required=False)
# Of the last two, ``which`` may be missing; see `apart`.
which_before_name = click.argument("which", required=False)
name = click.argument("name", required=False, metavar="NAME")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
config = click.option(
    "--config",
    type=LocalPath(),
    help="The YAML file with the policy. By default, the policy of the newest training run.",
)


def open_manifest(run_dir: Path) -> Manifest:
    """Read the manifest of a run directory; its problems go to standard error.

    Raises:
        StoreError: The directory has no manifest.
    """
    refuse_mirror(run_dir)
    manifest = read_manifest(run_dir)
    for problem in manifest.problems:
        say(f"Warning: {problem}", err=True)
    return manifest


def refuse_mirror(run_dir: Path) -> None:
    """Raise `StoreError` if a folder is a mirror, which is no run directory."""
    if is_mirror(run_dir):
        raise StoreError(
            f"{run_dir}: is a mirror; expected a run directory: `ckpt pull {run_dir}` makes one; `ckpt ls` and "
            "`ckpt mirror check` read mirrors as well"
        )


def locate(run_dir: Path, which: str | None) -> tuple[Manifest, str]:
    """Return the manifest of a run directory, and which checkpoint is meant.

    Args:
        run_dir: The run directory; if ``which`` is missing, the path of a checkpoint or of a link to one.
        which: The checkpoint, as `Listing.find` takes it.

    Raises:
        StoreError: Neither is given.
    """
    if which is not None:
        return open_manifest(run_dir), which
    refuse_mirror(run_dir)
    if run_dir.is_file() and not is_run_dir(run_dir.parent):
        raise StoreError(f"{run_dir}: is not in a run directory; expected a checkpoint in the directory of its run")
    if not is_checkpoint(run_dir):
        raise StoreError(
            f"{run_dir}: which checkpoint? expected a checkpoint's path, or a run directory and an id, a step, a file, "
            f"a tag, or one of {', '.join(ALIASES)}"
        )
    return open_manifest(run_dir.parent), str(run_dir)


def apart(run_dir: Path, which: str | None, name: str | None) -> tuple[str | None, str]:
    """Return which checkpoint and which name a command got; with one of them, that is the name.

    Raises:
        StoreError: It got neither.
    """
    if which is None:
        command = click.get_current_context().info_name
        raise StoreError(
            f"{command}: got only {str(run_dir)!r}; expected a checkpoint and a tag, as in "
            f"`ckpt {command} runs/a best release` or `ckpt {command} runs/a/best.ckpt release`"
        )
    return (None, which) if name is None else (which, name)


def is_checkpoint(path: Path) -> bool:
    """Return whether a path is in a run directory, and is not a run directory itself."""
    return is_run_dir(path.parent) and not is_run_dir(path)


def policy_of(config: Path | None, run: Manifest | Catalog) -> Policy | None:
    """Return the policy of a file, or the one that the newest training run had.

    Args:
        config: The file that ``--config`` names.
        run: The manifest of the run directory, or what a mirror holds.
    """
    if config is None:
        return policy_of_starts(run.attempts)
    from ..config import Config  # here, because importing the YAML reader is slow

    return Config.from_yaml(config).policy


def required_policy(config: Path | None, manifest: Manifest) -> Policy:
    """Return the same for a command that cannot do without it.

    Raises:
        StoreError: The manifest does not hold the policy, and no file is given.
    """
    if (policy := policy_of(config, manifest)) is None:
        raise StoreError(
            f"{manifest.layout.dirpath}: the manifest does not hold the policy; expected --config with its YAML file"
        )
    return policy


def echo_json(facts: dict[str, Any]) -> None:
    """Print a JSON object on one line."""
    click.echo(json.dumps(facts))
