"""Error messages for a file, one line for each mistake: where, what was received, what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import reduce
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import get_type_hints, is_typeddict

from ..policy.spelling import closest, near
from .peer_arguments import IN_A_FILE
from .scalars import called
from .short_form import SHORT

_ONLY_IN_PYTHON = {
    "restore_best_weights": "KerasCheckpoint.from_yaml(path, restore_best_weights=True)",
    "batch_metrics": "KerasCheckpoint.from_yaml(path, batch_metrics=True)",
    "format": "KerasCheckpoint.from_yaml(path, format='h5')",
    "allow_code": "from_yaml(path, allow_code=True)",
}

# Fields of the default policy, and what a file with rules of its own has instead.
_BESIDE_RULES = {
    "mode": "write it beside a metric's name: metrics: {...: {monitor: ..., mode: min}}",
    "patience": "write stop: {patience: {by: ..., checks: ...}}",
}

BESIDE_A_RULE = "contents"  # the field that may stand beside the name of a retention rule

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
    unknown = [details["loc"] for details in found if details["type"] == "extra_forbidden"]
    meant = {(*loc, meant_by(name, reduce(_part, loc, shape))) for *loc, name in unknown}
    given = {*parsed, *(path[0] for path in meant)} if isinstance(parsed, dict) else set()
    others = [details for details in found if not _follows(details, meant, given)]
    others.sort(key=lambda details: not (_is_unknown(details) and len(details["loc"]) == 1))
    return [_line(details, parsed, shape) for details in others]


def meant_by(name: object, shape: type) -> object:
    """Return the field of a mapping whose name may be misspelt; ``name`` itself if it resembles none."""
    known = get_type_hints(shape)
    also = SHORT if "version" in known else ()
    return name if name in known or name in IN_A_FILE else closest(name, (*known, *also)) or name


def choices(shape: type, *, but: str | None = None) -> str:
    """Return the names of the fields that a mapping may have, as text.

    Args:
        shape: The type of the mapping.
        but: A field to leave out.
    """
    return ", ".join(name for name in get_type_hints(shape) if name != but)


def _is_unknown(details: ErrorDetails) -> bool:
    return details["type"] in ("extra_forbidden", "invalid_key")


def _follows(details: ErrorDetails, meant: set[tuple[object, ...]], given: set[object]) -> bool:
    """Return whether a mistake is there only because of others.

    Args:
        details: The mistake.
        meant: The paths of the fields whose names are misspelt, with their right names.
        given: The fields at the top of the file.
    """
    if details["type"] != "missing":
        return False
    return details["loc"] in meant or (len(details["loc"]) == 1 and "monitor" in given)  # which means all rules


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
        text = f"unknown field {name!r}; {_instead(name, reduce(_part, loc, shape))}"
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
            why = ", which would delete every checkpoint" if loc[-1:] == ("keep",) else ""
            text = f"got an empty list{why}; expected at least one item: {_expected(wanted)}"
        else:
            options = get_args(wanted) if get_origin(wanted) is Literal else ()
            # YAML takes {epoch} for a mapping with a name that has no value.
            quote = isinstance(got, dict) and got and not any(got.values()) and _expected(wanted) == "text"
            hint = f'; quote it, as in "{{{next(iter(got))}}}"' if quote else near(got, options)
            text = f"got {received(got)}; expected {_expected(wanted)}{hint}"
    path = _path(loc, parsed, shape)
    return f"{path}: {text}" if path else text


def _instead(name: object, shape: type) -> str:
    """Return the fields that a mapping may have in place of an unknown one."""
    known = get_type_hints(shape)
    is_file = "version" in known
    if is_file and name in _ONLY_IN_PYTHON:
        return f"it is an argument in Python: {_ONLY_IN_PYTHON[str(name)]}"
    if is_file and name in IN_A_FILE:
        return f"instead, write {IN_A_FILE[str(name)]}"
    if name == BESIDE_A_RULE and not is_file:
        return "it stands beside the name of a rule in keep: {best: {...}, contents: weights}"
    meant = meant_by(name, shape)
    if is_file and meant in _BESIDE_RULES and meant not in known:
        hint = "" if meant == name else f"did you mean {meant!r}? "
        return f"{hint}{meant} goes with monitor, which stands for a whole policy; here, {_BESIDE_RULES[str(meant)]}"
    return f"expected one of {choices(shape)}{near(name, known)}"


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
        is_choice = not wanted.__required_keys__
        names = choices(wanted, but=BESIDE_A_RULE if is_choice else None)
        return f"a mapping with {'one of ' if is_choice else ''}{names}"
    if get_origin(wanted) is list:
        return _expected(get_args(wanted)[0])
    return called(wanted) or "a mapping"
