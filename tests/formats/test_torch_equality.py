"""Bit equality of tensors, whatever their strides."""

import pytest
import torch

from ckpt_callbacks.formats.torch.equality import raw_bytes

LAYOUTS = {
    "an only number, expanded": torch.tensor([3.0, 4.0])[:1].expand(1, 1),
    "an only number with a stride of 0": torch.tensor(3.0).expand(1),
    "one row of many": torch.ones(4, 3)[::4],
    "expanded": torch.arange(2.0).expand(3, 2),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "a scalar": torch.tensor(3.0),
    "empty": torch.empty(0, 3),
    "conjugate": torch.tensor([1 + 2j]).conj(),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_bytes_of_any_layout_are_those_of_its_numbers(name):
    tensor = LAYOUTS[name]
    assert bytes(raw_bytes(tensor)) == tensor.resolve_conj().numpy().tobytes()
