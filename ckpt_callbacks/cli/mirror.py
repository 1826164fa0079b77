"""The commands ``ckpt mirror ...``."""

from __future__ import annotations

import click

from .mirror_check import check
from .mirror_status import status


@click.group()
def mirror() -> None:
    """Look at the mirrors of a run: what they hold, what they cost, and whether they are intact."""


mirror.add_command(status)
mirror.add_command(check)
