"""House rules for docstrings and names, over the package, its tests, its benchmarks and its examples."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import ckpt_callbacks

ROOT = Path(ckpt_callbacks.__file__).parents[1]
FOLDERS = ("ckpt_callbacks", "tests", "benchmarks", "examples")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PACKAGE = [path for path in FILES if path.is_relative_to(ROOT / "ckpt_callbacks")]

SECTION = re.compile(r"^ *(\w+):$")
TWO = re.compile(r"^ *\w+(, \w+)+: |[.;] [a-z_]\w*(, \w+)*: ")
CLAUSE = re.compile(r"(What|Which|Whether|Until|How)\b")
# One class for each framework, under one name.
TWINS = {"keras", "lightning"}


def docstrings(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def crowded(text):
    """Lines of the sections on parameters and attributes that document more than one of them."""
    section = None
    for line in text.splitlines():
        if found := SECTION.match(line):
            section = found[1]
        elif line and not line.startswith(" "):
            section = None
        elif section in ("Args", "Attributes") and TWO.search(line):
            yield line


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_line_documents_one_parameter(path):
    lines = [line for text in docstrings(path) for line in crowded(text)]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_docstring_of_a_module_names_a_thing(path):
    found = CLAUSE.match(ast.get_docstring(ast.parse(path.read_text())) or "")
    assert not found, f"it begins with {found[0]!r}"


def test_no_two_modules_define_a_public_class_of_one_name():
    places = defaultdict(list)
    for path in PACKAGE:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT / "ckpt_callbacks"))
    twice = set()
    for name, paths in places.items():
        below = [path.parts[:-1] for path in paths]
        twins = len(paths) == 2 and {part for parts in below for part in parts} & TWINS == TWINS
        if len(paths) > 1 and not twins:
            twice.add(name)
    assert not twice
