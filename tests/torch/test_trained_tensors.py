"""The search for NaN and infinities in tensors of any type."""

import pytest
import torch

from ckpt_callbacks.torch.trained_tensors import are_finite

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("size", [1001, 40_001])
def test_one_bad_number_is_found(dtype, value, size):
    good = torch.linspace(-3, 3, size).to(dtype)
    bad = good.clone()
    bad[size // 2] = value
    assert are_finite([good, good[::2], torch.empty(0)]) and not are_finite([good, bad]) and not are_finite([bad[::2]])


def test_types_that_hold_no_infinity_and_those_of_8_bits_are_left_out():
    assert are_finite([torch.ones(3, dtype=torch.int64), torch.tensor([True]), torch.ones(3).to(torch.float8_e5m2)])


def test_tensors_of_other_layouts_and_views_are_searched():
    base = torch.ones(2000, 300)
    base[:, 7] = torch.nan
    assert not are_finite([base.t()]) and not are_finite([base[3:5]]) and are_finite([base[:, 8], base[:, :7]])
    base[:, 7], base[5, 9] = 1, torch.inf
    assert not are_finite([base]) and not are_finite([base[2:400]]) and are_finite([base[400:], base[:3]])
    assert are_finite([torch.eye(3).to_sparse().values(), torch.tensor(3.5)]) and not are_finite(
        [torch.tensor(torch.inf)]
    )
    assert not are_finite([torch.full((3,), complex(0, torch.nan)).conj()])
