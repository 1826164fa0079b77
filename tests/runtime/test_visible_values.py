"""Values of attributes, compared before and after a change."""

import numpy as np
import pytest
import torch

from ckpt_callbacks.runtime.visible_values import visible

CHANGES = {
    "a number": ([1], lambda held: held.__setitem__(0, 2)),
    "an item of a dict": ([{"a": 1}], lambda held: held[0].update(a=2)),
    "a tensor in a tuple": ([(torch.zeros(2), 0)], lambda held: held[0][0].add_(1)),
    "a small array": ([np.zeros(3)], lambda held: held[0].__iadd__(1)),
    "a long list": ([[0] * 100], lambda held: held[0].append(0)),
    "a set": ([{1}], lambda held: held[0].add(2)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_visible(name):
    held, change = CHANGES[name]
    before = visible(held[0])
    assert visible(held[0]) == before
    change(held)
    assert visible(held[0]) != before


def test_what_is_saved_or_of_another_kind_is_not_compared():
    tensor = torch.zeros(2)
    before = visible([tensor, object()], {id(tensor)})
    tensor.add_(1)
    assert visible([tensor, object()], {id(tensor)}) == before
    assert visible(object()) is None and visible(float("nan")) == visible(float("nan"))
