"""Mistakes in the arguments of a callback that LightningCLI creates."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConfigError, PolicyError

_Call = TypeVar("_Call", bound=Callable[..., Any])

_PACKAGE = __name__.partition(".")[0]
_PARSER = "jsonargparse"


def ends_command_line(call: _Call) -> _Call:
    """Make a constructor end the process with its own message if the parser of a command line calls it.

    The parser does the same with the mistakes that it finds. It takes any exception from a constructor as a sign that
    the value has another type, and would repeat it among those of all other types, in dozens of lines.

    Args:
        call: The constructor.
    """

    @functools.wraps(call)
    def checked(*arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except (PolicyError, ConfigError) as error:
            if not _is_called_by_parser():
                raise
            sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
            raise SystemExit(2) from error

    return checked  # type: ignore[return-value]


def _is_called_by_parser() -> bool:
    """Return whether a parser creates the object, perhaps through `from_yaml` or the constructor of a subclass."""
    if os.environ.get("JSONARGPARSE_DEBUG", "false").lower() != "false":  # the parser raises exceptions then, too
        return False
    frame = sys._getframe(1)
    while frame.f_back is not None and (_package_of(frame) == _PACKAGE or frame.f_code.co_name == "__init__"):
        frame = frame.f_back
    return _package_of(frame) == _PARSER


def _package_of(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
