"""A policy value as the source code that creates it."""

from __future__ import annotations

import dataclasses
from typing import Any


def source_text(value: Any) -> str:
    """Return the call that creates a dataclass, without the arguments that have their default values."""
    given = (field for field in dataclasses.fields(value) if getattr(value, field.name) != field.default)
    return f"{type(value).__name__}({', '.join(f'{one.name}={getattr(value, one.name)!r}' for one in given)})"
