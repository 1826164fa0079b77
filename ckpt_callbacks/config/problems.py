"""Error messages for a file, one line for each mistake: where, what was received, what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import date
from functools import reduce
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import get_type_hints, is_typeddict

from .scalars import called
from .short_form import SHORT

_IN_PYTHON = {
    "restore_best_weights": "KerasCheckpoint.from_yaml(path, restore_best_weights=True)",
    "batch_metrics": "KerasCheckpoint.from_yaml(path, batch_metrics=True)",
    "format": "KerasCheckpoint.from_yaml(path, format='h5')",
    "allow_code": "from_yaml(path, allow_code=True)",
}

Loc = Iterable[int | str]


def problem(text: str) -> PydanticCustomError:
    """Return an error for a validator to raise, with its final wording."""
    return PydanticCustomError("problem", "{text}", {"text": text})


def describe(error: ValidationError, parsed: Any, shape: type) -> list[str]:
    """Return one line for each mistake, beginning with its path in the file.

    Args:
        error: The mistakes that pydantic found.
        parsed: The content of the file.
        shape: The type that the file should have had.
    """
    found = error.errors(include_url=False)
    unknown = [details for details in found if _is_unknown(details) and len(details["loc"]) == 1]
    meant = {name for details in unknown for name in _close(details["loc"][0], {*get_type_hints(shape), *SHORT})}
    others = [details for details in found if details not in unknown and not _follows(details, meant)]
    return [_line(details, parsed, shape) for details in (*unknown, *others)]


def choices(shape: type) -> str:
    """Return the names of the fields that a mapping may have, as text."""
    return ", ".join(get_type_hints(shape))


def near(word: object, known: Iterable[object]) -> str:
    """Return ``; did you mean 'epochs'?`` if one of ``known`` resembles ``word``, else an empty string."""
    found = _close(word, known)
    return f"; did you mean {found[0]!r}?" if found else ""


def _close(word: object, known: Iterable[object]) -> list[str]:
    return difflib.get_close_matches(str(word), map(str, known), n=1)


def _is_unknown(details: ErrorDetails) -> bool:
    return details["type"] in ("extra_forbidden", "invalid_key")


def _follows(details: ErrorDetails, meant: set[str]) -> bool:
    """Return whether a mistake is there only because the names of these fields are misspelt."""
    if details["type"] == "missing" and len(details["loc"]) == 1:
        return details["loc"][0] in meant or "monitor" in meant  # which stands for all rules
    return "metrics" in meant and details["msg"].startswith("unknown metric ")


def received(got: Any) -> str:
    """Return what the file holds, as text."""
    if got is None:
        return "nothing"
    if isinstance(got, dict | list):
        return "a mapping" if isinstance(got, dict) else "a list"
    return str(got) if isinstance(got, date) else repr(got)


def _line(details: ErrorDetails, parsed: Any, shape: type) -> str:
    kind, loc, got = details["type"], details["loc"], details["input"]
    if kind in ("extra_forbidden", "invalid_key"):
        loc, last = loc[:-1], loc[-1]
        name = last if kind == "extra_forbidden" else got
        wanted = reduce(_part, loc, shape)
        known = get_type_hints(wanted)
        if not loc and name in _IN_PYTHON:
            text = f"unknown field {name!r}; it is an argument in Python: {_IN_PYTHON[name]}"
        else:
            also = () if loc else SHORT
            text = f"unknown field {name!r}; expected one of {choices(wanted)}{near(name, (*known, *also))}"
    elif loc and loc[-1] == "[key]":
        loc, text = loc[:-2], f"got {got!r} as a name; expected text"
    elif kind == "problem":
        text = details["msg"]
    else:
        wanted = reduce(_part, loc, shape)
        if kind == "missing":
            text = f"missing; expected {_expected(wanted)}"
        elif kind == "recursion_loop":
            text = f"got an alias of a part that contains it; expected {_expected(wanted)}"
        elif kind == "too_short":
            why = ", which would delete every checkpoint" if loc == ("keep",) else ""
            text = f"got an empty list{why}; expected at least one item: {_expected(wanted)}"
        else:
            options = get_args(wanted) if get_origin(wanted) is Literal else ()
            text = f"got {received(got)}; expected {_expected(wanted)}{near(got, options)}"
    path = _path(loc, parsed, shape)
    return f"{path}: {text}" if path else text


def _path(loc: Loc, parsed: Any, shape: Any) -> str:
    """Return the path in the file itself. Pydantic saw a single item as a list, and a lone name as a field."""
    path = ""
    for step in loc:
        alone = get_origin(shape) is list and not isinstance(parsed, list)
        shape = _part(shape, step)
        if alone:
            continue
        if isinstance(parsed, list) and isinstance(step, int):
            path += f"[{step}]"
            parsed = parsed[step]
        else:
            name = str(step)
            path += f".{name if name.isprintable() else repr(name)}"
            parsed = parsed.get(step) if isinstance(parsed, dict) else None
    return path.removeprefix(".")


def _part(shape: Any, step: int | str) -> Any:
    """Return the type of one part of a ``shape``. Nothing in the file is a union, so each step leads to one type."""
    return get_type_hints(shape)[str(step)] if is_typeddict(shape) else get_args(shape)[-1]


def _expected(wanted: Any) -> str:
    if is_typeddict(wanted):
        return f"a mapping with {'' if wanted.__required_keys__ else 'one of '}{choices(wanted)}"
    if get_origin(wanted) is list:
        return _expected(get_args(wanted)[0])
    return called(wanted) or "a mapping"
