"""Documents in containers of other libraries, such as Hydra's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def built_in(value: Any) -> Any:
    """Return a document with dictionaries and lists in place of other containers."""
    if isinstance(value, Mapping):
        return {name: built_in(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [built_in(part) for part in value]
    return value
