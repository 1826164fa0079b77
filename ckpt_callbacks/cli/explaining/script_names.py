"""The names of a script that is not run: what each of them stands for everywhere in it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

# Nodes with the name that they bind.
_NAMING = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar
)  # fmt: skip
# Methods of dictionaries and lists that change them.
_CHANGING = {
    "append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update"
}  # fmt: skip


class ScriptNames:
    """The names of a script: what it imports, and what it binds only once and never changes.

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
            elif isinstance(changed := _changed(node), ast.Name):
                bound[changed.id] += 1
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


def _changed(node: ast.AST) -> ast.expr | None:
    """Return what a statement changes, as ``options["mode"] = "max"`` and ``options.update(mode="max")`` do."""
    match node:
        case ast.Subscript(ctx=ast.Store() | ast.Del()):
            return node.value
        case ast.Call(func=ast.Attribute() as method) if method.attr in _CHANGING:
            return method.value
    return None
