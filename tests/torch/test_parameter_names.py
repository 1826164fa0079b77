"""Modules that change between two looks at the names of their parameters."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.torch.parameter_names import ParameterNames

_numbers = itertools.count()


class OwnTree(torch.nn.Linear):
    """A part that names its parameters itself."""

    def named_parameters(self, *arguments, **named):
        return iter([("own", self.weight)])


class Changes:
    """A module, and ways to change it."""

    def __init__(self):
        self.module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False)))

    def freeze(self):
        for parameter in itertools.islice(self.module.parameters(), 1):
            parameter.requires_grad_(not parameter.requires_grad)

    def freeze_all(self):
        self.module.requires_grad_(False)

    def add(self):
        self.module.add_module(f"more{next(_numbers)}", torch.nn.Linear(2, 2))

    def move(self):
        if "moved" not in self.module._modules:
            self.module.moved = self.module._modules.pop("0")
            self.module._modules = {"0": torch.nn.Identity(), **self.module._modules}

    def swap(self):
        first = self.module[0]
        if isinstance(first, torch.nn.Linear) and first.bias is not None:
            first.weight, first.bias = torch.nn.Parameter(first.bias), torch.nn.Parameter(first.weight)

    def rename(self):
        part = self.module[1]
        part._modules = {f"{name}a": child for name, child in part._modules.items()}

    def tie(self):
        self.module.tied = self.module[1]

    def tie_a_parameter(self):
        self.module.register_parameter("tied_weight", next(self.module.parameters()))

    def untie(self):
        if "tied_weight" in self.module._parameters:
            self.module.tied_weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def take_the_bias(self):
        if isinstance(self.module[0], torch.nn.Linear):
            self.module[0].bias = None

    def leave_a_hole(self):
        self.module.register_module("hole", None)

    def fill_the_hole(self):
        self.module.hole = torch.nn.Linear(2, 1)

    def name_by_itself(self):
        self.module.own = OwnTree(2, 2)

    def make_a_buffer_of_it(self):
        weight = self.module[1]._modules.popitem()[1].weight if len(self.module[1]) else torch.ones(1)
        self.module[1].register_buffer(f"buffer{next(_numbers)}", weight.detach())


CHANGES = [name for name in vars(Changes) if name[0] != "_"]


def check(names, module):
    found, parameters = names.of(module), module.named_parameters
    assert found.trained == [name for name, one in parameters(remove_duplicate=False) if one.requires_grad]
    assert found.frozen == [name for name, one in parameters() if not one.requires_grad]
    assert found.frozen_in_file == [name for name, one in parameters(remove_duplicate=False) if not one.requires_grad]


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=6))
def test_names_follow_the_changes_of_a_module(changes):
    changed, names = Changes(), ParameterNames()
    for change in changes:
        check(names, changed.module)
        getattr(changed, change)()
    check(names, changed.module)


@pytest.mark.parametrize("change", CHANGES)
def test_names_follow_each_change_of_a_module(change):
    changed, names = Changes(), ParameterNames()
    check(names, changed.module)
    getattr(changed, change)()
    check(names, changed.module)


def test_names_are_found_once_for_an_unchanged_module():
    changed, names = Changes(), ParameterNames()
    assert names.of(changed.module) is names.of(changed.module)
    changed.add()
    assert names.of(changed.module) is names.of(changed.module)
