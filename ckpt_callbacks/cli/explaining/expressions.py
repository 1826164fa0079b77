"""The values of expressions in a script that is not run: literals, durations, paths and policies."""

from __future__ import annotations

import ast
import operator
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ...errors import CkptError, PolicyError, first_line
from ...policy.policy import Policy
from .call import Unread, unknown_part

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


# Nodes with the name that they bind.
_NAMING = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar
)  # fmt: skip


class Unknown(Exception):
    """An expression whose value only the running script knows."""


class ScriptNames:
    """The names of a script: what it imports, and what it binds only once.

    Args:
        tree: The script.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._imported: dict[str, list[str]] = {}
        self.starred: list[str] = []
        self._once: dict[str, ast.expr] = {}
        bound: Counter[str] = Counter()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound.update(self._import(node))
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                bound[node.id] += 1
            elif isinstance(node, ast.arg):
                bound[node.arg] += 1
            elif isinstance(node, _NAMING):
                bound[node.name or ""] += 1
            elif isinstance(node, ast.MatchMapping):
                bound[node.rest or ""] += 1
            elif isinstance(node, ast.Global | ast.Nonlocal):
                bound.update(node.names)
            self._assign(node)
        self._once = {name: value for name, value in self._once.items() if bound[name] == 1}

    def paths(self, node: ast.expr) -> Iterator[str]:
        """Yield the dotted paths that an expression may mean; an imported name may have several."""
        if isinstance(node, ast.Attribute):
            yield from (f"{path}.{node.attr}" for path in self.paths(node.value))
        elif isinstance(node, ast.Name):
            yield from self._imported.get(node.id, ())
            yield from (f"{module}.{node.id}" for module in self.starred)
            if node.id not in self._imported:
                yield node.id

    def value(self, name: str) -> ast.expr | None:
        """Return the expression that a name stands for everywhere in the script; None if that is not clear."""
        return self._once.get(name)

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """Note what an import means, and yield the names that it binds."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                bound, path = (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
            elif alias.name == "*":
                self.starred.append(node.module or "")
                continue
            else:
                bound, path = alias.asname or alias.name, f"{node.module or ''}.{alias.name}"
            self._imported.setdefault(bound, []).append(path)
            yield bound

    def _assign(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self._once[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            self._once[node.target.id] = node.value


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

    def read(self, node: ast.expr) -> Any:
        """Return the value of an expression, or `Unread`."""
        try:
            return self._value(node)
        except Unknown:
            return Unread(ast.unparse(node), self._pattern(node))
        except (CkptError, TypeError) as error:  # a mistake in a rule
            self.problems.append(first_line(error))
            return Unread(ast.unparse(node))

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
