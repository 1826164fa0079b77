"""The callbacks that a Python script constructs. The script is read, not run."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from .call import Call, known_class, twice
from .expressions import Reader
from .script_names import ScriptNames


def calls_of_script(path: Path) -> Iterator[Call]:
    """Yield each construction of a known callback, in the order of the lines.

    Raises:
        ConfigError: The file cannot be read, or is no Python.
    """
    tree = _parsed(path)
    names = ScriptNames(tree)
    reader = Reader(names)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for node in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        for dotted in names.paths(node.func):
            owner, _, method = dotted.rpartition(".")
            found = known_class(owner if method == "from_yaml" else dotted) if "." in dotted else None
            if found is None:
                continue
            call = _with_arguments(Call(f"{path}:{node.lineno}", *found), node, reader)
            yield _of_file(call) if method == "from_yaml" else call
            break


def _with_arguments(call: Call, node: ast.Call, reader: Reader) -> Call:
    """Return a call with its arguments: by position, by name, and those whose names are not known."""
    reader.problems.clear()
    starred, positional = [], []
    for one in node.args:
        if isinstance(one, ast.Starred):
            starred.append(ast.unparse(one))
            break  # whatever follows has an unknown position
        positional.append(reader.read(one))
    named: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is not None:
            found: list[tuple[str, Any]] | None = [(keyword.arg, reader.read(keyword.value))]
        else:
            found = reader.unpacked(keyword.value)
        if found is None:
            starred.append(f"**{ast.unparse(keyword.value)}")
            continue
        for name, value in found:
            if name in named:
                reader.problems.append(twice(call.name, name))
            named[name] = value
    return replace(
        call, positional=tuple(positional), named=named, starred=tuple(starred), problems=tuple(reader.problems)
    )


def _of_file(call: Call) -> Call:
    """Return a call of ``from_yaml``, whose first argument is the file, as one of the constructor."""
    named = {"policy" if name == "path" else name: value for name, value in call.named.items()}
    return replace(call, positional=(), named={**dict(zip(("policy",), call.positional, strict=False)), **named})


def _parsed(path: Path) -> ast.Module:
    try:
        data = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes, which are no concern of this command
            return ast.parse(data.decode(encoding), filename=str(path))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except SyntaxError as error:
        problem = f"{f'line {error.lineno}: ' if error.lineno else ''}{error.msg}; expected a Python script"
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, wrong encoding, endless nesting
        problem = f"{error or 'is nested too deeply'}; expected a Python script"
    raise ConfigError([f"{path}: {' '.join(problem.split())}"])
