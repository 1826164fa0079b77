"""The files into which a large checkpoint is split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import PolicyError
from ..units import SIZE, as_bytes, exact_size

_MAX_SIZE = "max_size"
_LONGEST = 10**15  # texts of sizes have at most 15 digits


@dataclass(frozen=True, order=True)
class Shards:
    """What `Contents.shards` says.

    Attributes:
        max_size: Bytes of the largest file, unless a single tensor needs more.
    """

    max_size: int

    def as_mapping(self) -> dict[str, str | int]:
        """Return what a user writes for it."""
        return {_MAX_SIZE: exact_size(self.max_size) if self.max_size < _LONGEST else self.max_size}

    def __str__(self) -> str:
        return f"shards of {exact_size(self.max_size)}"

    def __repr__(self) -> str:
        return repr(self.as_mapping())


def as_shards(where: str, value: object) -> Shards:
    """Return the shards that a user gave.

    Args:
        where: The place in the message, such as ``"Contents"``.
        value: What was given.

    Raises:
        PolicyError: It is no mapping of the one field, or the size is wrong.
    """
    if isinstance(value, Shards):
        return value
    if not isinstance(value, Mapping) or list(value) != [_MAX_SIZE]:
        raise PolicyError(
            f"{where}: shards is {value!r}; expected a mapping with {_MAX_SIZE} alone, such as {Shards(5 * 10**9)!r}"
        )
    size = as_bytes(value[_MAX_SIZE], f"{where}: shards: {_MAX_SIZE}")
    if size == 0:
        raise PolicyError(f"{where}: shards: {_MAX_SIZE} is {value[_MAX_SIZE]!r}; expected {SIZE}, above 0")
    return Shards(size)
