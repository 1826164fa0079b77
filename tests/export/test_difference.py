"""The difference of two models' outputs."""

import numpy as np
import pytest

from ckpt_callbacks import ExportDiffers
from ckpt_callbacks.export.difference import Difference

NAN, INF = float("nan"), float("inf")


def difference(*pairs):
    found = Difference()
    for expected, other in pairs:
        found.add("output", np.array(expected), np.array(other))
    return found.absolute, found.relative


@pytest.mark.parametrize(
    ("expected", "found", "distances"),
    [
        ([1.0, -4.0], [1.0, -3.0], (1.0, 0.25)),
        ([0.0, 0.0], [0.0, 0.0], (0.0, 0.0)),
        ([0.0, 0.0], [0.0, 1e-9], (1e-9, INF)),
        ([NAN, INF, -INF, 2.0], [NAN, INF, -INF, 2.0], (0.0, 0.0)),
        ([NAN, 2.0], [1.0, 2.0], (INF, INF)),
        ([1.0, 2.0], [NAN, 2.0], (INF, INF)),
        ([INF, 2.0], [-INF, 2.0], (INF, INF)),
        ([1, 2], [1, 3], (1.0, 0.5)),
        ([True, False], [True, True], (1.0, 1.0)),
        ([], [], (0.0, 0.0)),
    ],
)
def test_a_difference_is_relative_to_the_largest_value(expected, found, distances):
    assert difference((expected, found)) == distances


def test_the_scale_is_that_of_all_inputs_because_a_sample_of_zeros_may_yield_next_to_nothing():
    assert difference(([1e-3], [1.1e-3]), ([2.0], [2.0])) == pytest.approx((1e-4, 5e-5))
    assert difference(([2.0], [2.0]), ([1e-3], [1.1e-3])) == pytest.approx((1e-4, 5e-5))


def test_each_output_has_a_scale_of_its_own():
    found = Difference()
    found.add_all([np.array([100.0]), np.array([1.0])], [np.array([100.0]), np.array([1.5])])
    assert (found.absolute, found.relative) == (0.5, 0.5)


def test_other_shapes_and_numbers_of_outputs_are_no_small_difference():
    with pytest.raises(ExportDiffers, match=r"^output has shape \(1,\); expected \(2,\)"):
        difference(([1.0, 2.0], [1.0]))
    with pytest.raises(ExportDiffers, match=r"^has 2 outputs; expected 1"):
        Difference().add_all([np.ones(1)], [np.ones(1)] * 2)
