"""The default policy of a file, with the arguments of a callback in place of its fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

SHORT = ("monitor", "mode", "patience")


def completed(parsed: Any, short: Mapping[str, Any], rules: Collection[str]) -> tuple[Any, list[str]]:
    """Return the content of a file with the arguments in place of its fields, and one line if it has other rules.

    Args:
        parsed: The content of the file.
        short: Any of ``monitor``, ``mode`` and ``patience``.
        rules: The names of the fields by which a file has rules of its own.
    """
    if not short or not isinstance(parsed, dict):
        return parsed, []
    if own := [name for name in rules if name in parsed]:
        instead = "; to stop early, write stop: {patience: {by: ..., checks: ...}}" if "patience" in short else ""
        return parsed, [
            f"got {', '.join(short)} as an argument, but the file has {', '.join(own)}; expected a file with monitor "
            f"or without rules, or the change in the file itself{instead}"
        ]
    # The direction of one metric is none of another.
    kept = {name: value for name, value in parsed.items() if name != "mode" or "monitor" not in short}
    return {**kept, **short}, []
