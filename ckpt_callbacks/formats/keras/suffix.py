"""The suffixes of Keras' files."""

from __future__ import annotations

from ...errors import PolicyError

KERAS, WEIGHTS, LEGACY = ".keras", ".weights.h5", ".h5"


def suffix_of(contents: str, format: str | None) -> str:
    """Return the suffix of the files to write.

    Args:
        contents: ``"full"`` or ``"weights"``.
        format: ``"keras"`` or ``"h5"``; None for the usual one.

    Raises:
        PolicyError: There is no such format, or it does not exist with these contents.
    """
    if format not in (None, "keras", "h5"):
        raise PolicyError(f"KerasCheckpoint: format is {format!r}; expected 'keras' or 'h5', or None for the usual one")
    if contents == "weights":
        if format == "keras":
            raise PolicyError("KerasCheckpoint: contents='weights' is written as .weights.h5; leave format out")
        return WEIGHTS
    return LEGACY if format == "h5" else KERAS
