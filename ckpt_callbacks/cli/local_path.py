"""Paths on the command line, which may still contain ``~`` or variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..store.paths import expanded


class LocalPath(click.Path):
    """The type of an argument that is a local path. The parameters are those of `click.Path`."""

    def __init__(self, **others: Any) -> None:
        super().__init__(path_type=Path, **others)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # fmt: skip
        """Expand what the shell has not expanded, as in ``--config='~/ckpt.yaml'``, and return the path.

        Raises:
            PolicyError: The path is empty or a URL, or names an unknown user.
        """
        what = param.get_error_hint(ctx).strip("'.") if param is not None and ctx is not None else "the path"
        return super().convert(expanded(what, value), param, ctx)
