"""Lines on the terminal, in which no name of a file or a metric can act as a control sequence."""

from __future__ import annotations

import click

from ..errors import printable


def say(text: str, *, err: bool = False) -> None:
    """Print one line of plain text.

    Args:
        text: The line.
        err: Whether it is a problem, and not a result.
    """
    click.echo(printable(text), err=err)
