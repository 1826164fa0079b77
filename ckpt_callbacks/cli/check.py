"""The command ``ckpt check``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import ConfigError
from ..policy.unused_grace import unused_grace
from .local_path import LocalPath
from .output import say


@click.command()
@click.argument("file", type=LocalPath(exists=True, dir_okay=False))
def check(file: Path) -> None:
    """Check a YAML file with a policy, without training.

    Prints what the file says, or one line for each mistake in FILE. The exit status is 1 when it has mistakes.
    """
    from ..config import Config  # here, because importing the YAML reader is slow

    try:
        config = Config.from_yaml(file)
    except ConfigError as error:
        for problem in error.problems:
            say(problem, err=True)
        raise SystemExit(1) from error
    say(f"{file}: no mistakes")
    policy = config.policy
    for name, rule in (("save", policy.save), ("keep", policy.keep), ("stop", policy.stop)):
        if rule is not None:
            say(f"{name}: {rule!r}")
    if unused := unused_grace(policy, config.settings):
        say(f"{file}: {unused}", err=True)
