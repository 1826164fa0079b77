"""The values of expressions in a script that is not run: literals, durations, paths and policies."""

from __future__ import annotations

import ast
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ...errors import CkptError, PolicyError, first_line
from ...policy.policy import Policy
from .call import Unread, unknown_part
from .script_names import ScriptNames

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.BitOr: operator.or_, ast.BitAnd: operator.and_,
}  # fmt: skip
_SIGNS: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}
_LONGEST = 1_000  # characters or items that a value may have, which a script can double with each line
_CALLS: dict[str, Callable[..., Any]] = {
    "datetime.timedelta": timedelta,
    "pathlib.Path": os.path.join,
    "pathlib.PurePath": os.path.join,
    "os.path.join": os.path.join,
    "os.path.expanduser": os.path.expanduser,
    "str": str,
    "dict": dict,
    "ckpt_callbacks.Policy.default": Policy.default,
}
_PUBLIC = sys.modules["ckpt_callbacks"]
# Values that policies are made of; none of them reads or writes anything.
_CALLS |= {
    f"ckpt_callbacks.{name}": made
    for name in _PUBLIC.__all__
    if (made := getattr(_PUBLIC, name)).__module__.startswith(("ckpt_callbacks.policy.", "ckpt_callbacks.units"))
}
_RULES = {made for path, made in _CALLS.items() if path.startswith("ckpt_callbacks.")}
_PATHS = {name for name, made in _CALLS.items() if made in (os.path.join, str)}


class Unknown(Exception):
    """An expression whose value only the running script knows."""


class Reader:
    """The values of the expressions of a script.

    Args:
        names: The names of the script.
    """

    def __init__(self, names: ScriptNames) -> None:
        self._names = names
        self.problems: list[str] = []  # mistakes in policies
        self._open: list[str] = []  # the names that are being read, of which each may stand for itself
        self._read: dict[str, Any] = {}  # the values of names; `Unknown` for none
        self._patterns: dict[str, str] = {}
        self._unpacked: dict[str, list[tuple[str, Any]] | None] = {}  # the arguments that names stand for

    def read(self, node: ast.expr) -> Any:
        """Return the value of an expression, or `Unread`."""
        try:
            return self._value(node)
        except Unknown:
            return Unread(ast.unparse(node), self._pattern(node))
        except (CkptError, TypeError) as error:  # a mistake in a rule
            self.problems.append(first_line(error))
            return Unread(ast.unparse(node))

    def unpacked(self, node: ast.expr) -> list[tuple[str, Any]] | None:
        """Return the arguments that ``**`` of an expression stands for, by name: values, or `Unread`.

        The expression is a dictionary whose keys are known, or a name for one. None for any other.
        """
        match node:
            case ast.Dict():
                return self._joined((self._key(key), value) for key, value in zip(node.keys, node.values, strict=True))
            case ast.Call(args=[]) if "dict" in self._names.paths(node.func):
                return self._joined((one.arg, one.value) for one in node.keywords)
            case ast.Name() if node.id not in self._open and (bound := self._names.value(node.id)) is not None:
                if node.id not in self._unpacked:
                    with self._opened(node.id):
                        self._unpacked[node.id] = self.unpacked(bound)
                return self._unpacked[node.id]
        return None

    def _joined(self, items: Iterable[tuple[Any, ast.expr]]) -> list[tuple[str, Any]] | None:
        """Return the items of a dictionary, those of another one in place of a key that is None; None if not known."""
        found: dict[str, Any] = {}
        for name, value in items:
            inner = self.unpacked(value) if name is None else [(name, self.read(value))]
            if inner is None or not all(isinstance(one, str) for one, _ in inner):
                return None
            found.update(inner)
        return list(found.items())

    def _key(self, node: ast.expr | None) -> Any:
        return None if node is None else self.read(node)

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.UnaryOp() if type(node.op) in _SIGNS:
                return _carried_out(_SIGNS[type(node.op)], self._value(node.operand))
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return self._combined(node.op, self._value(node.left), self._value(node.right))
            case ast.List():
                return [self._value(one) for one in node.elts]
            case ast.Tuple():
                return tuple(self._value(one) for one in node.elts)
            case ast.Dict() if None not in node.keys:
                keys = [self._value(key) for key in node.keys if key is not None]
                return _carried_out(dict, zip(keys, map(self._value, node.values), strict=True))
            case ast.JoinedStr():
                return _short("".join(self._text(part) for part in node.values))
            case ast.Call():
                return self._called(node)
            case ast.Name():
                return self._named(node.id)
        raise Unknown

    def _combined(self, kind: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(kind, ast.Div) and isinstance(left, str) and isinstance(right, str):
            return os.path.join(left, right)  # of pathlib
        if isinstance(kind, ast.Mult) and not all(isinstance(one, int | float | timedelta) for one in (left, right)):
            raise Unknown  # a product of text may be of any size
        return _short(_carried_out(_OPERATORS[type(kind)], left, right))

    def _text(self, part: ast.expr) -> str:
        if isinstance(part, ast.FormattedValue) and part.format_spec is None and part.conversion == -1:
            return str(self._value(part.value))
        if isinstance(part, ast.Constant):
            return str(part.value)
        raise Unknown

    def _called(self, node: ast.Call) -> Any:
        made = next((_CALLS[path] for path in self._names.paths(node.func) if path in _CALLS), None)
        if made is None or any(isinstance(one, ast.Starred) for one in node.args):
            raise Unknown
        named = {one.arg: self._value(one.value) for one in node.keywords if one.arg is not None}
        if len(named) < len(node.keywords):
            raise Unknown
        arguments = [self._value(one) for one in node.args]
        if made in _RULES:
            return made(*arguments, **named)
        return _carried_out(made, *arguments, **named)

    def _named(self, name: str) -> Any:
        node = self._names.value(name)
        if node is None or name in self._open:
            raise Unknown
        if name not in self._read:
            with self._opened(name):
                try:
                    self._read[name] = self._value(node)
                except Unknown:
                    self._read[name] = Unknown
        if self._read[name] is Unknown:
            raise Unknown
        return self._read[name]

    @contextmanager
    def _opened(self, name: str) -> Iterator[None]:
        """Remember which name is being read, because its value may contain itself."""
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()

    def _pattern(self, node: ast.expr) -> str:
        """Return the text of an expression that makes a path, in which brackets stand for what is not known."""
        found = self._parts(node)
        return found if len(found) <= _LONGEST else unknown_part(ast.unparse(node))

    def _parts(self, node: ast.expr) -> str:
        try:
            return str(self._value(node))
        except (Unknown, CkptError, TypeError):
            pass
        match node:
            case ast.Name() if node.id not in self._open and (bound := self._names.value(node.id)) is not None:
                if node.id not in self._patterns:
                    with self._opened(node.id):
                        self._patterns[node.id] = self._pattern(bound)
                return self._patterns[node.id]
            case ast.JoinedStr():
                return "".join(map(self._pattern, node.values))
            case ast.FormattedValue():
                return self._pattern(node.value)
            case ast.BinOp(op=ast.Add()):
                return self._pattern(node.left) + self._pattern(node.right)
            case ast.BinOp(op=ast.Div()):
                return os.path.join(self._pattern(node.left), self._pattern(node.right))
            case ast.Call(args=[_, *_]) if {*self._names.paths(node.func)} & _PATHS and not node.keywords:
                return os.path.join(*map(self._pattern, node.args))
        return unknown_part(ast.unparse(node))


def _carried_out(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return call(*arguments, **named)
    except PolicyError:
        raise  # rules that are combined in the wrong way
    except Exception:
        raise Unknown from None


def _short(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > _LONGEST:
        raise Unknown
    return value
