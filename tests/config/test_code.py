"""Functions that a YAML file names."""

import functools

import pytest

from ckpt_callbacks import (
    OnPreempt,
    Policy,
    PolicyError,
    Predicate,
    Trigger,
)
from ckpt_callbacks.config import Config
from ckpt_callbacks.settings import Settings
from tests.config.documents import PREDICATE, problems_of, read
from tests.support import strategies


def test_code_is_imported_only_when_allowed(tmp_path):
    assert problems_of(tmp_path, PREDICATE) == [
        "save.predicate: got 'tests.support.strategies:even_step', which is code; pass allow_code=True to import it"
    ]
    policy = Policy(Predicate(strategies.even_step))
    assert read(tmp_path, PREDICATE, allow_code=True).policy == policy
    assert Policy.from_yaml(tmp_path / "ckpt.yaml", allow_code=True) == policy


def test_nothing_runs_unless_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemError('the\\ntrap')")
    monkeypatch.syspath_prepend(tmp_path)
    text = "save: {predicate: 'trap:fn'}"
    assert "trap" not in problems_of(tmp_path, text)[0].replace("'trap:fn'", "")
    assert problems_of(tmp_path, text, allow_code=True) == [
        "save.predicate: 'trap:fn' cannot be imported: SystemError: the trap; expected a function, such as pkg.mod:fn"
    ]


@pytest.mark.parametrize(
    "reference, problem",
    [
        (
            "no_such_module:fn",
            "'no_such_module:fn' cannot be imported: ModuleNotFoundError: No module named 'no_such_module'; "
            "expected a function, such as pkg.mod:fn",
        ),
        (
            "os:no_such",
            "'os:no_such' cannot be imported: AttributeError: module 'os' has no attribute 'no_such'; "
            "expected a function, such as pkg.mod:fn",
        ),
        ("os:sep", "got '/'; expected a function of one Event"),
    ],
)
def test_code_that_is_not_there(tmp_path, reference, problem):
    text = f"save: {{predicate: '{reference}'}}"
    assert problems_of(tmp_path, text, allow_code=True) == [f"save.predicate: {problem}"]


def _inner():
    def function(event):
        return True

    return function


@pytest.mark.parametrize("function", [lambda event: True, _inner(), functools.partial(strategies.even_step)])
def test_code_without_an_address_cannot_be_written(function):
    with pytest.raises(
        PolicyError, match=r"cannot be written as pkg\.mod:fn; expected a function at the top of a module"
    ):
        Policy(Predicate(function)).to_yaml()


def test_code_of_the_running_script_cannot_be_written(monkeypatch):
    import __main__

    monkeypatch.setattr(__main__, "rule", strategies.even_step, raising=False)
    monkeypatch.setattr(strategies.even_step, "__module__", "__main__")
    monkeypatch.setattr(strategies.even_step, "__qualname__", "rule")
    with pytest.raises(PolicyError, match=r"'rule' cannot be written as pkg\.mod:fn"):
        Policy(Predicate(strategies.even_step)).to_yaml()


def test_what_has_no_form_in_yaml_cannot_be_written():
    class Mine(Trigger):
        pass

    with pytest.raises(PolicyError, match=r"Mine\(\) cannot be written as YAML"):
        Policy(Mine() | OnPreempt()).to_yaml()
    with pytest.raises(PolicyError, match="name is 'mine', for which YAML has no field"):
        Policy(Predicate(strategies.even_step, name="mine")).to_yaml()
    with pytest.raises(PolicyError, match="cannot be written as YAML"):
        Config(Policy(OnPreempt()), Settings(metadata={"x": object()})).to_yaml()
