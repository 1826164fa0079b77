"""The parts and parameters of random modules, which are those that torch's own generators yield."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.torch.module_tree import parameters_by_name, parts_by_name
from tests.support.histories import usual


@st.composite
def modules(draw):
    """Return a module whose parts and parameters may have several names, or be missing."""
    shared = torch.nn.Parameter(torch.zeros(2))
    made = [torch.nn.Module()]
    for _ in range(draw(st.integers(0, 7))):
        part = draw(st.sampled_from([torch.nn.Module, lambda: torch.nn.Linear(2, 2), lambda: torch.nn.ReLU()]))()
        for name in draw(st.lists(st.sampled_from("abc"), max_size=2, unique=True)):
            part.register_parameter(name, draw(st.sampled_from([shared, None, torch.nn.Parameter(torch.ones(1))])))
        for name in draw(st.lists(st.sampled_from("xyz"), max_size=3, unique=True)):
            part.add_module(name, draw(st.sampled_from([*made, None])))
        made.append(part)
    return made[-1]


@pytest.mark.parametrize("repeated", [False, True])
@usual
@given(module=modules())
def test_they_are_those_of_torch(repeated, module):
    parts, parameters = parts_by_name(module, repeated=repeated), parameters_by_name(module, repeated=repeated)
    theirs = list(module.named_modules(remove_duplicate=not repeated))
    assert [name for name, _ in parts] == [name for name, _ in theirs]
    assert all(ours is other for (_, ours), (_, other) in zip(parts, theirs, strict=True))
    theirs = list(module.named_parameters(remove_duplicate=not repeated))
    assert [name for name, _ in parameters] == [name for name, _ in theirs]
    assert all(ours is other for (_, ours), (_, other) in zip(parameters, theirs, strict=True))


class Renamed(torch.nn.Linear):
    """A module with a tree of its own."""

    def named_modules(self, *arguments, **named):
        yield "other", self

    def named_parameters(self, *arguments, **named):
        yield "other.weight", self.weight


def test_a_module_with_a_tree_of_its_own_is_asked():
    module = Renamed(2, 2)
    assert [name for name, _ in parts_by_name(module)] == ["other"]
    assert [name for name, _ in parameters_by_name(module)] == ["other.weight"]
