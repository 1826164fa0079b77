"""A path on the command line, in which the shell has perhaps left ``~`` or variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..errors import PolicyError
from ..store.paths import expanded


class LocalPath(click.Path):
    """The type of an argument that is a local path; others are as for `click.Path`."""

    def __init__(self, **others: Any) -> None:
        super().__init__(path_type=Path, **others)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # fmt: skip
        """Return the path with what the shell would have put into it, as in ``--config='~/ckpt.yaml'``."""
        try:
            return super().convert(expanded("the path", value), param, ctx)
        except PolicyError as error:
            self.fail(str(error), param, ctx)
