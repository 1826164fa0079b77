"""The check of a framework's private names, on classes that define them in every possible way."""

import functools
import importlib.metadata
import sys
from types import SimpleNamespace

import pytest

from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.runtime.private_names import check, missing


class Base:
    _declared: dict

    def __init__(self):
        self._set_early = 1


def wrapped(method):
    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        return method(*args, **kwargs)

    return wrapper


class Loop(Base):
    _constant = 1

    def begin(self):
        self._set_late = self._only_read

    @property
    def _computed(self):
        return 1

    def _method(self):
        pass

    @wrapped
    def run(self, data):
        iterator = iter(data)
        self._set_in_wrapped = iterator


HERE = "framework.Loop"
THERE = ["_declared", "_set_early", "_set_late", "_constant", "_computed", "_method", "_set_in_wrapped"]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "framework", SimpleNamespace(Loop=Loop))


@pytest.mark.parametrize("name", THERE)
def test_a_name_that_is_there_is_found(name):
    assert missing([(HERE, name)]) == []


@pytest.mark.parametrize("name", ["_only_read", "_nowhere"])
def test_a_name_that_nothing_sets_is_missing(name):
    assert missing([(HERE, name)]) == [f"{HERE}.{name}"]


@pytest.mark.parametrize("name", ["data", "iterator", "_set_in_wrapped"])
def test_variables_of_functions_and_what_they_set_count(name):
    assert missing([(f"{HERE}.run", name), (f"{HERE}.run", "loader")]) == [f"{HERE}.run.loader"]


def test_names_in_something_that_is_gone_are_missing():
    names = [("no_such_package.module", "_a"), ("framework.Gone", "_b"), ("os.path", "join")]
    assert missing(names) == ["no_such_package.module._a", "framework.Gone._b"]


def test_the_error_names_the_version_and_what_works():
    version = importlib.metadata.version("pytest")
    with pytest.raises(CkptError) as caught:
        check("pytest", "pytest>=8", [("os", "path"), ("os", "_a"), ("os", "_b")])
    assert str(caught.value) == (
        f"pytest {version} lacks os._a, os._b, which this version of ckpt_callbacks relies on; "
        'run `pip install "pytest>=8"`'
    )
    check("pytest", "pytest>=8", [("os", "path")])
