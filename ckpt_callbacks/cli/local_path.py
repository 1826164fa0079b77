"""Paths on the command line, which may still contain ``~`` or variables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from ..errors import PolicyError
from ..store.paths import expanded

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # it is not shown, because it may hold a password


class LocalPath(click.Path):
    """The type of an argument that is a local path. The parameters are those of `click.Path`."""

    def __init__(self, **others: Any) -> None:
        super().__init__(path_type=Path, **others)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # fmt: skip
        """Expand what the shell has not expanded, as in ``--config='~/ckpt.yaml'``, and return the path.

        Raises:
            PolicyError: The path is empty or a URL, names an unknown user, or is no file where one is expected.
        """
        what = param.get_error_hint(ctx).strip("'.") if param is not None and ctx is not None else "the path"
        if _URL.match(os.fspath(value)) and not os.path.lexists(value):
            raise PolicyError(
                f"{what} is a URL; expected a local path: `ckpt ls`, `ckpt pull`, `ckpt push`, `ckpt sync` and "
                "`ckpt mirror check` take the URL of a mirror, and `ckpt pull URL DIR` makes a run directory of it"
            )
        path = Path(expanded(what, value))
        if self.exists and not self.dir_okay and (path.is_dir() or not path.exists()):
            problem = "is a folder" if path.is_dir() else "does not exist"
            raise PolicyError(f"{path}: {problem}; expected a file")
        return super().convert(path, param, ctx)
