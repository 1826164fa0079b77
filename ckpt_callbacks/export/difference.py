"""The difference between what was exported and what it was exported from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ExportDiffers


class Difference:
    """The largest differences so far.

    Attributes:
        absolute: The largest absolute difference of two numbers.
    """

    def __init__(self) -> None:
        self.absolute = 0.0
        self._distances: dict[str, float] = {}
        self._scales: dict[str, float] = {}

    @property
    def relative(self) -> float:
        """The largest difference within an array, relative to the largest number in it, for whatever inputs."""
        return max((_ratio(far, self._scales[name]) for name, far in self._distances.items()), default=0.0)

    def add(self, name: str, expected: np.ndarray, found: np.ndarray) -> None:
        """Compare two arrays. Equal infinities are equal, and so is NaN in the same places.

        Args:
            name: The name of the array. The scale is that of all arrays of one name, because the outputs for a sample
                of zeros may all be small.
            expected: What the checkpoint holds or yields.
            found: What the exported file holds or yields.

        Raises:
            ExportDiffers: The shapes differ.
        """
        if expected.shape != found.shape:
            raise ExportDiffers(f"{name} has shape {found.shape}; expected {expected.shape}, as from the checkpoint")
        a, b = (_numbers(array) for array in (expected, found))
        finite = np.abs(a[np.isfinite(a)])
        self._scales[name] = max(self._scales.get(name, 0.0), float(finite.max()) if finite.size else 0.0)
        unequal = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        with np.errstate(invalid="ignore"):
            distance = np.abs(a - b)[unequal]
        far = float(np.where(np.isnan(distance), np.inf, distance).max()) if distance.size else 0.0
        self._distances[name] = max(self._distances.get(name, 0.0), far)
        self.absolute = max(self.absolute, far)

    def add_all(self, expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> None:
        """Compare the outputs of two models.

        Raises:
            ExportDiffers: Their numbers or shapes differ.
        """
        if len(expected) != len(found):
            raise ExportDiffers(f"has {len(found)} outputs; expected {len(expected)}, as the checkpoint's model has")
        for number, (one, other) in enumerate(zip(expected, found, strict=True), 1):
            self.add(f"output {number}", one, other)

    def __str__(self) -> str:
        return f"{self.absolute:.2g}, or {self.relative:.2g} of the largest value"


def _numbers(array: np.ndarray) -> np.ndarray:
    return array if np.iscomplexobj(array) else array.astype(np.float64)


def _ratio(distance: float, scale: float) -> float:
    if not distance:
        return 0.0
    return distance / scale if scale else np.inf
