"""Each recipe of CONTRIBUTING.md, carried out in a copy of the package and shown to work."""

import importlib.util
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import ckpt_callbacks
from tests.support.forks import forks_of
from tests.support.recipe_proofs import FILES, PROOFS
from tests.support.recipes import recipes
from tests.support.variants import only_quick

PACKAGE = Path(ckpt_callbacks.__file__).parent
RECIPES = recipes()
QUICK = ("A trigger", "A setting", "A file format, such as a sharded directory")


def test_each_recipe_has_a_proof():
    assert list(RECIPES) == list(PROOFS) == list(FILES)


@pytest.mark.parametrize("title", only_quick(RECIPES, *QUICK))
def test_a_recipe_works_and_touches_its_files_alone(title, tmp_path):
    copy = tmp_path / "ckpt_callbacks"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in RECIPES[title]:
        edit.apply(copy)
    named = list(dict.fromkeys(edit.file for edit in RECIPES[title]))
    assert changed(copy) == set(named)
    assert all(any(fnmatch(file, allowed) for allowed in FILES[title]) for file in named)
    assert complaints([copy / file for file in named]) == ""
    code = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport ckpt_callbacks\n"
        f"assert ckpt_callbacks.__file__ == {str(copy / '__init__.py')!r}\n{PROOFS[title]}"
    )
    done = forks_of().complete_code(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def complaints(files):
    """Return what ruff reports about files, if it is installed."""
    if importlib.util.find_spec("ruff") is None:
        return ""
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--quiet", "--no-cache", "--config", str(PACKAGE.parent / "pyproject.toml")]
    said = ""
    for command in (["check", *rules, "--output-format", "concise"], ["format", *rules, "--diff"]):
        said += subprocess.run([*ruff, *command, *files], capture_output=True, text=True).stdout
    return said


def changed(copy):
    """The files that differ from the package's, or are new."""
    return {
        file
        for path in copy.rglob("*.py")
        if not (PACKAGE / (file := path.relative_to(copy).as_posix())).exists()
        or (PACKAGE / file).read_bytes() != path.read_bytes()
    }
