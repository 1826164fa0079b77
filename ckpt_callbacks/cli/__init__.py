"""The command ``ckpt``: what a run directory holds, why, and whether it is intact.

Standard output holds results only; problems, progress and errors go to standard error. The exit status is 0 when all is
well, 1 when something is wrong (or no training is running where a save is requested), and 2 for wrong usage.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import pkgutil
import sys
from typing import Any

import click

from ..errors import CkptError, ConfigError, printable


class _Refusal(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed, as by >&-; no file that is opened later may get its descriptor
                setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CkptError as error:
            lines = "\n" if isinstance(error, ConfigError) else ""  # it has a line for each mistake
            raise _Refusal(printable(str(error), keep=lines)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of the output has ended; click handles that
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise _Refusal(printable(f"{where}{error.strerror or error}")) from error
        except click.UsageError as error:
            raise click.UsageError(printable(error.format_message()), ctx=error.ctx) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ckpt-callbacks")
def main() -> None:
    """See what a run directory holds, why, and whether it is intact."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a name that is not UTF-8 is printed as its bytes


# A command is a file in this folder that defines a command with the file's name.
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _command = getattr(importlib.import_module(f"{__name__}.{_module.name}"), _module.name, None)
        if isinstance(_command, click.Command):
            main.add_command(_command)
