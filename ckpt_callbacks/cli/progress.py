"""The progress bar of commands that read, send or receive many bytes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[tuple[Callable[[int], object], Callable[[str], object]]]:
    """Draw a progress bar over ``total`` bytes if standard error is a terminal.

    Yields:
        A function that moves the bar, on any thread, and one that prints a result: above the bar, if both are on one
        terminal.
    """
    if not sys.stderr.isatty():
        yield lambda count: None, click.echo
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
    from rich.text import Text

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total)

        def above(line: str) -> None:
            console.print(Text.from_ansi(line), soft_wrap=True)

        yield lambda count: bar.advance(task, count), above if sys.stdout.isatty() else click.echo
