"""A policy value as the source that creates it."""

from __future__ import annotations

import dataclasses
from typing import Any


def source_text(value: Any) -> str:
    """Return a dataclass as a call of its class, without the arguments that equal their default."""
    given = (field for field in dataclasses.fields(value) if getattr(value, field.name) != field.default)
    return f"{type(value).__name__}({', '.join(f'{one.name}={getattr(value, one.name)!r}' for one in given)})"
