"""The command ``ckpt``: what a run directory holds, why, and whether it is intact.

Standard output holds results only; problems, progress and errors go to standard error. The exit status is 0 when all is
well, 1 when something is wrong (or no training runs where a save is requested), and 2 for a wrong call.
"""

from __future__ import annotations

from typing import Any

import click

from ..errors import CkptError
from . import doctor, log, ls, save, schema, show, verify


class _Refusal(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CkptError as error:
            raise _Refusal(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ckpt-callbacks")
def main() -> None:
    """See what a run directory holds, why, and whether it is intact."""


for command in (doctor.doctor, log.log, ls.ls, save.save, schema.schema, show.show, verify.verify):
    main.add_command(command)
