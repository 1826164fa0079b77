"""A run directory that another framework's callback has trained in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import StoreError
from ..record import Attempt, attempt_framework


def refuse_another_framework(dirpath: Path, attempts: Iterable[Attempt], framework: str, name: str) -> None:
    """Raise `StoreError` if another framework's callback has trained here, before anything is touched.

    Args:
        dirpath: The run directory.
        attempts: Its starts of training.
        framework: The framework of the caller.
        name: The caller's name in messages.
    """
    for attempt in attempts:
        found = attempt_framework(attempt)
        if found is not None and found != framework:
            raise StoreError(
                f"{dirpath}: holds a run of {attempt.facts.get('holder', found)}, whose files {name} cannot resume "
                "from; expected an empty directory, or one of its own runs"
            )
