"""The search for NaN and infinities in tensors of any type."""

import pytest
import torch

from ckpt_callbacks.torch.trained_tensors import are_finite

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_number_is_found(dtype, value):
    good = torch.linspace(-3, 3, 1001).to(dtype)
    bad = good.clone()
    bad[500] = value
    assert are_finite([good, good[::2], torch.empty(0)]) and not are_finite([good, bad]) and not are_finite([bad[::2]])


def test_types_that_hold_no_infinity_and_those_of_8_bits_are_left_out():
    assert are_finite([torch.ones(3, dtype=torch.int64), torch.tensor([True]), torch.ones(3).to(torch.float8_e5m2)])
