"""The command ``ckpt check``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import ConfigError, MirrorError, MissingDependency, PolicyError, first_line
from ..mirrors.places import check_places
from ..policy.mirror import lost_with_disk
from ..policy.unused_grace import unused_grace
from ..remote.url import is_remote, open_store
from .local_path import LocalPath
from .output import say


@click.command()
@click.argument("file", type=LocalPath(exists=True, dir_okay=False))
def check(file: Path) -> None:
    """Check a YAML file with a policy, without training.

    Prints what the file says, or one line for each mistake in FILE. The exit status is 1 when it has mistakes.
    """
    from ..config import Config  # here, because importing the YAML reader is slow
    from .explaining.placeholders import placeholders

    try:
        config = Config.from_yaml(file)
    except ConfigError as error:
        for problem in error.problems:
            say(problem, err=True)
        raise SystemExit(1) from error
    if left := [f"{file}: {line}" for line in placeholders(config)]:
        for line in left:
            say(line, err=True)
        raise SystemExit(1)
    dirpath = config.settings.dirpath
    if is_local := dirpath is not None and not is_remote(os.fspath(dirpath)):
        try:
            check_places("mirrors", config.settings.mirrors, dirpath)
        except PolicyError as error:
            say(f"{file}: {first_line(error).removeprefix('mirrors: ')}", err=True)
            raise SystemExit(1) from None
    for mirror in config.settings.mirrors:
        try:
            open_store(mirror.url, mirror.storage_options)
        except MirrorError as error:
            say(f"{file}: mirrors: {first_line(error)}", err=True)
            raise SystemExit(1) from None
        except MissingDependency as error:  # training may run elsewhere
            say(f"{file}: mirrors: {mirror.url}: {first_line(error)}", err=True)
    say(f"{file}: no mistakes")
    policy = config.policy
    for name, rule in (("save", policy.save), ("keep", policy.keep), ("stop", policy.stop)):
        if rule is not None:
            say(f"{name}: {rule!r}")
    for mirror in config.settings.mirrors:
        say(f"mirror: {mirror!r}")
    if is_local and (problem := lost_with_disk(config.settings.mirrors)):
        say(f"{file}: {problem}", err=True)
    if unused := unused_grace(policy, config.settings):
        say(f"{file}: {unused}", err=True)
