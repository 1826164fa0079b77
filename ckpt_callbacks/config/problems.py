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
    return [_line(details, parsed, shape) for details in error.errors(include_url=False)]


def choices(shape: type) -> str:
    """Return the names of the fields that a mapping may have, as text."""
    return ", ".join(get_type_hints(shape))


def near(word: object, known: Iterable[object]) -> str:
    """Return ``; did you mean 'epochs'?`` if one of ``known`` resembles ``word``, else an empty string."""
    found = difflib.get_close_matches(str(word), map(str, known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


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
        text = f"unknown field {name!r}; expected one of {choices(wanted)}{near(name, get_type_hints(wanted))}"
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
