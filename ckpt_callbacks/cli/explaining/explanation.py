"""The meaning of one callback, and what could not be read or is refused."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import Any

from ...config.meaning import Meaning
from ...config.peer_arguments import IN_PYTHON
from ...errors import CkptError, ConfigError, MissingDependency, first_line
from ...policy.spelling import near
from ...settings import Settings
from .call import Call, Unread, twice, unknown_part

_PATHS = ("dirpath", "filepath", "backup_dir")
_OWN_ARGUMENTS = ("policy", "monitor", "mode", "patience")
# Of this package's callbacks: neither in a policy nor in a file.
_ELSEWHERE = ("allow_code", "batch_metrics", "clock", "format", "restore_best_weights")
_INSTEAD = re.compile(r"; instead, write (\w+)=('[^'\\]*'|-?[\d.e-]+)$")  # in an error: an argument that is right
_BACKENDS = ("torch", "jax", "tensorflow")  # of Keras; the first one is imported fastest


@dataclass(frozen=True)
class Explanation:
    """What one callback means.

    Attributes:
        call: The callback.
        meaning: Its policy and what goes with it. None if it has none.
        unread: A line for each argument that could not be read.
        problems: A line for each argument that is refused.
        directory: The directory that its files are in, as far as it can be told from that of another callback.
    """

    call: Call
    meaning: Meaning | None
    unread: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    directory: str = ""


def explain(call: Call) -> Explanation:
    """Return what a callback means.

    Raises:
        MissingDependency: Its framework is not installed.
    """
    explained = _own(call) if call.is_own else _of_framework(call)
    return replace(explained, problems=(*call.problems, *explained.problems))


# -- callbacks of the frameworks: the drop-in is made, which knows what its arguments mean -----------------------------


def _of_framework(call: Call) -> Explanation:
    kind = _drop_in(call)
    named, problems = _by_name(call, kind)
    named, unread = _readable(call, named)
    if unknown := [name for name in named if name not in inspect.signature(kind).parameters]:
        problems.append(_refusal(kind, named))
        named = {name: value for name, value in named.items() if name not in unknown}
    notes: list[str] = []
    refused: list[str] = []
    meaning = None
    for _ in range(2):
        try:
            with _heard(notes):
                meaning = kind(**named).explain()
            break
        except MissingDependency:
            raise
        except Exception as error:  # of the framework's own kinds
            refused.append(first_line(error))
            if (found := _INSTEAD.search(refused[-1])) is None:
                break
            named[found[1]] = ast.literal_eval(found[2])  # the rest is explained with what is to be written instead
    if call.starred:
        unread = (*unread, *_incomplete(refused, named))
    else:
        problems += refused
    if meaning is None:
        return Explanation(call, None, unread, tuple(problems))
    directory = meaning.settings.get("dirpath", "")
    settings = dict(meaning.settings)
    if isinstance(given := named.get("dirpath"), str):
        settings["dirpath"] = given  # Lightning makes it absolute
    meaning = replace(meaning, settings=settings, notes=(*meaning.notes, *notes))
    return Explanation(call, meaning, unread, tuple(problems), str(directory))


def _drop_in(call: Call) -> Any:
    if call.room == "lightning":
        from ...lightning import drop_ins as lightning  # here, because only this command needs a framework

        return getattr(lightning, call.name)
    if "keras" not in sys.modules and (installed := [name for name in _BACKENDS if find_spec(name)]):
        os.environ.setdefault("KERAS_BACKEND", installed[0])  # any will do
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from ...keras import drop_ins as keras

    return getattr(keras, call.name)


def _by_name(call: Call, kind: Any) -> tuple[dict[str, Any], list[str]]:
    """Return all arguments by name, and a line if there are more than the callback takes."""
    order = [name for name, one in inspect.signature(kind).parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    named, problems = dict(zip(order, call.positional, strict=False)), []
    if len(call.positional) > len(order):
        problems.append(f"{call.name}: got {len(call.positional)} positional arguments; expected at most {len(order)}")
    problems += [twice(call.name, name) for name in call.named if name in named][:1]
    return {**named, **call.named}, problems


def _readable(call: Call, named: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments with something in place of those that could not be read, and a line for each of these."""
    values, lines = {}, []
    for name, value in named.items():
        if not isinstance(value, Unread):
            values[name] = value
            continue
        stands = _stand_in(name, value, named)
        explained = "explained without it" if stands is None else f"explained with {stands!r} in its place"
        lines.append(f"{name}={value.shown[1:-1]} cannot be read; {explained}")
        if stands is not None:
            values[name] = stands
    lines += [f"{text} cannot be read; explained without it" for text in call.starred]
    return values, tuple(lines)


def _incomplete(refused: Sequence[str], named: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to say of a call with unknown arguments that is refused without them: that may be no mistake in it.

    Args:
        refused: Why it is refused.
        named: Its other arguments.
    """
    yield from (f"without all arguments, it is refused: {line}" for line in refused)
    if refused:
        yield f"the arguments that can be read: {', '.join(f'{n}={v!r}' for n, v in named.items()) or 'none'}"


def _stand_in(name: str, value: Unread, named: Mapping[str, Any]) -> str | None:
    if name == "monitor":
        return value.shown
    path = value.as_path or unknown_part(value.text)
    if name == "filepath" and path.endswith(">"):  # Keras looks at its end
        suffix = ".weights.h5" if named.get("save_weights_only") is True else ".keras"
        return f"{path}{suffix}"
    return path if name in _PATHS else None


def _refusal(kind: Any, named: Mapping[str, Any]) -> str:
    """Return what a callback says about arguments that it does not have."""
    try:
        kind(**named)
    except Exception as error:
        return first_line(error)
    return ""


@contextmanager
def _heard(notes: list[str]) -> Iterator[None]:
    """Collect what a callback logs and warns of while it is made."""
    log, heard = logging.getLogger("ckpt_callbacks"), _Heard(notes)
    before = log.level
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
        notes += [first_line(one.message) for one in warned if isinstance(one.message, UserWarning)]
    finally:
        log.setLevel(before)
        log.removeHandler(heard)


class _Heard(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(record.getMessage())


# -- callbacks of this package: their policy is in their arguments -----------------------------------------------------


def _own(call: Call) -> Explanation:
    from ...config.arguments import build_config  # here, because importing the YAML reader is slow

    named = {**dict(zip(("dirpath", "policy"), call.positional, strict=False)), **call.named}
    if isinstance(policy := named.get("policy"), Unread):
        why = () if call.problems else (f"policy={policy.shown[1:-1]} cannot be read, so its rules are not known",)
        return Explanation(call, None, why)
    named, unread = _readable(call, {n: v for n, v in named.items() if n not in _ELSEWHERE})
    known = (*_OWN_ARGUMENTS, *(one.name for one in fields(Settings)))
    problems = [_unknown(call.name, name, known) for name in named if name not in known]
    given = {name: value for name, value in named.items() if name in known and name != "mirrors"}
    try:
        dirpath, policy = given.pop("dirpath", None), given.pop("policy", None)
        refused = None if isinstance(dirpath, str) else dirpath  # a text stays as it is, with its ~ and $VARIABLES
        config = build_config(call.name, refused, policy, needs_dirpath=False, **given)
        set_ = {one.name: getattr(config.settings, one.name) for one in fields(Settings) if one.name != "mirrors"}
        settings = {**set_, **({"dirpath": dirpath} if dirpath is not None else {})}
    except CkptError as error:
        lines = error.problems if isinstance(error, ConfigError) else (first_line(error),)
        if call.starred:
            return Explanation(call, None, (*unread, *_incomplete(lines, named)), tuple(problems))
        return Explanation(call, None, unread, (*problems, *lines))
    notes = ("mirrors: as they are",) if "mirrors" in named or config.settings.mirrors else ()
    return Explanation(call, Meaning(config.policy, settings, notes=notes), unread, tuple(problems))


def _unknown(owner: str, name: str, known: tuple[str, ...]) -> str:
    instead = f"; instead, write {IN_PYTHON[name]}" if name in IN_PYTHON else near(name, known)
    return f"{owner}: got an unknown argument {name!r}{instead}"
