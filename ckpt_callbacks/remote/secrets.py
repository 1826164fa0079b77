"""Messages of other libraries, without the secrets that may be in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import first_line, printable

_USER = re.compile(r"(?<=://)(?:[^/\s@:]*:\S*|[^/\s@]+)@")  # a password may contain any sign, so it ends at the last @
_NUMBER = re.compile(r"^\[Errno -?\w+\] ")
_QUERY = re.compile(r"\?\S+")  # of a signed URL, or of the session of an upload
_LEAST = 4  # characters of a value that can be a secret; shorter ones would tear words apart


def scrubbed(error: BaseException | str, options: Mapping[str, Any] | None = None) -> str:
    """Return the first line of a message without users, passwords, signatures, or values of options.

    Args:
        error: An error of an engine, or its text.
        options: What the user gave as `storage_options`.
    """
    text = _NUMBER.sub("", error if isinstance(error, str) else first_line(error))
    for secret in sorted(set(_values(options or {})), key=len, reverse=True):
        text = text.replace(secret, "***")
    return printable(_QUERY.sub("?***", _USER.sub("***@", text)))


def without_user(url: str) -> str:
    """Return a URL without user, password and query."""
    return _USER.sub("", url.split("?", 1)[0])


def _values(options: Mapping[str, Any] | Iterable[Any]) -> Iterator[str]:
    for value in options.values() if isinstance(options, Mapping) else options:
        if isinstance(value, Mapping | list | tuple):
            yield from _values(value)
        elif isinstance(value, str) and len(value) >= _LEAST and "://" not in value:
            yield value
