"""The search for NaN and infinities in memory."""

import numpy as np
import pytest
import torch

from ckpt_callbacks.formats.finite import all_finite

KINDS = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]


def numbers(tensor):
    return tensor.view(torch.uint8).numpy().data, str(tensor.dtype).removeprefix("torch.")


@pytest.mark.parametrize("kind", KINDS)
def test_one_bad_number_is_found_wherever_it_is(kind):
    plain = torch.linspace(-3, 3, 200_001).to(getattr(torch, kind))
    assert all_finite([numbers(plain), numbers(plain[:0])])
    for place in (0, 65_535, 65_536, -1):
        for bad in (float("nan"), float("inf"), float("-inf")):
            spoiled = plain.clone()
            spoiled[place] = bad
            assert not all_finite([numbers(plain), numbers(spoiled)]), (place, bad)


@pytest.mark.parametrize("kind", KINDS)
def test_one_bad_number_is_found_among_many_small_tensors(kind):
    plain = [numbers(torch.linspace(-3, 3, size).to(getattr(torch, kind))) for size in (1, 3, 700) for _ in range(100)]
    others = [numbers(torch.ones(5)), (b"\xff" * 9, "int8")]
    assert all_finite([*plain, *others, *plain])
    for place in (0, 150, 299):
        spoiled = numbers(torch.full((2,), float("nan")).to(getattr(torch, kind)))
        assert not all_finite([*plain[:place], spoiled, *plain[place:], *others]), place


def test_the_largest_numbers_are_finite_and_other_types_are_not_looked_at():
    for dtype in (getattr(torch, kind) for kind in KINDS[:4]):
        limits = torch.finfo(dtype)
        assert all_finite([numbers(torch.tensor([limits.max, limits.min, limits.smallest_normal], dtype=dtype))])
    assert all_finite([(np.full(8, -1, "int32").data.cast("B"), "int32"), (b"\x7f" * 8, "float8_e4m3fn")])
