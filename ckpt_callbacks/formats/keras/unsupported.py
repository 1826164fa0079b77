"""Keras' refusals to save or load a model, as one-line errors."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import StoreError


@contextmanager
def explain_refusal(model: str) -> Iterator[None]:
    """Turn Keras' ways of refusing to save a model into a `StoreError`.

    Args:
        model: The model's name.
    """
    try:
        yield
    except (NotImplementedError, TypeError, ValueError) as error:
        raise StoreError(f"Keras cannot save {model!r}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """Return the part of one of Keras' long messages that names the problem."""
    parts = [part for part in re.split(r"\n\s*\n", str(error)) if part.strip()] or [type(error).__name__]
    if len(parts) > 1 and parts[0].endswith(":"):  # "... could not be loaded. Example error message for object ...:"
        del parts[0]
    return shorten(parts[0])


def shorten(message: str) -> str:
    """Return the beginning of a message, on one line."""
    return textwrap.shorten(message, 240, placeholder=" ...").rstrip(".")
