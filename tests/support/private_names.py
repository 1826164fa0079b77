"""A scan of an adapter for the private names of others that it uses."""

import ast


def private_names(room):
    """The private names that the modules of a room read from anything but themselves, or import, as a set.

    Those that `getattr` is given with a default are not among them: their absence is expected.
    """
    return {name for tree in _trees(room) for name in _used(tree)}


def names_below(room, package):
    """The names that the modules of a room import from a private package, and read from its modules, as a set."""
    return {name for tree in _trees(room) for name in _taken(tree, package)}


def _trees(room):
    return [ast.parse(path.read_text()) for path in room.rglob("*.py")]


def _used(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_own(node) and _is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (alias.name for alias in node.names if _is_private(alias.name))


def _taken(tree, package):
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}.")
        for alias in node.names
    }
    yield from imported.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            yield node.attr


def _is_own(node):
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")
