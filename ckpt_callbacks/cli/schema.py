"""The command ``ckpt schema``."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON schema of the YAML file.

    An editor that uses the schema completes and checks a policy file as you type.
    """
    from ..config import json_schema  # here, because importing the YAML reader is slow

    click.echo(json.dumps(json_schema(), indent=2))
