"""The facts, metrics and hyperparameters that differ between two checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..record import Record
from . import cells

if TYPE_CHECKING:
    from ..formats.inside import Inside

_ALWAYS = ("step", "epoch")  # shown even if they are equal
_FACTS = (*_ALWAYS, "id", "time", "run", "attempt", "fit", "contents", "resumable", "finite", "final", "tags")
_ABSENT = "-"
Sections = Mapping[str, Mapping[str, tuple[Any, Any]]]


def differing(first: Record | None, a: Inside, second: Record | None, b: Inside) -> Sections:
    """Return what differs, by the section's title and the name of the fact.

    Args:
        first: The record of the first checkpoint in its run directory; None for the one that its file holds, if any.
        a: What is inside the first file.
        second: The same of the second one.
        b: What is inside the second file.
    """
    facts, metrics, settings = [], [], []
    for given, inside in ((first, a), (second, b)):
        record = given
        if record is None and inside.record is not None:
            record = Record.from_json(inside.record)
        known = {} if record is None else {name: getattr(record, name) for name in _FACTS if name not in record.unknown}
        facts.append({**known, **(_flat(record.metadata) if record is not None else {})})
        facts[-1] |= {name: value for name, value in inside.facts.items() if name not in facts[-1]}
        metrics.append({} if record is None else {**record.metrics, **record.scores})
        settings.append(_flat(inside.hyperparameters))
    return {
        "fact": _pairs(facts, always=_ALWAYS),
        "metric": _pairs(metrics),
        "hyperparameter": _pairs(settings) if all(settings) else {},  # many files hold none
    }


def word(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return cells.number(value)
    return ", ".join(map(word, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; NaN and infinities become strings, as in a record."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _pairs(sides: list[dict[str, Any]], always: tuple[str, ...] = ()) -> dict[str, tuple[Any, Any]]:
    a, b = sides
    pairs = {name: (a.get(name, _ABSENT), b.get(name, _ABSENT)) for name in {**a, **b}}
    return {name: pair for name, pair in pairs.items() if name in always or not _equal(*pair)}


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, (int, float)) and isinstance(y, (int, float)):
        return x == y or (x != x and y != y)
    return type(x).__name__ == type(y).__name__ and repr(x) == repr(y)  # some objects are stand-ins for unknown ones


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries and lists by their paths, such as ``optimizer.lr``."""
    if isinstance(value, Mapping):
        items = [(str(name), item) for name, item in value.items()]
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return {path.rstrip("."): value}
    return {name: leaf for key, item in items for name, leaf in _flat(item, f"{path}{key}.").items()}
