"""Smoothing of a noisy metric before it is compared.

A smoother is a pure fold: ``(memory, value) → memory``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PolicyError
from ..units import check_count, format_number
from .argument_names import suggests_fields

Memory = tuple[float, ...]


@dataclass(frozen=True)
class Smoothing:
    """A smoothing of a noisy metric: the base of `EMA`, `Mean` and `Median`.

    Its memory is a tuple of plain floats, which checkpoints contain.
    """

    def push(self, memory: Memory, value: float) -> Memory:
        """Return the memory after one more finite value."""
        raise NotImplementedError

    def read(self, memory: Memory) -> float:
        """Return the smoothed value of a non-empty memory."""
        raise NotImplementedError


@suggests_fields
@dataclass(frozen=True)
class EMA(Smoothing):
    """The exponential moving average: ``s = alpha * x + (1 - alpha) * s``, starting at the first value.

    Example: ``Metric("val_loss", mode="min", smoothing=EMA(0.3))``.

    Args:
        alpha: Weight of the newest value, in (0, 1]. 1 smooths nothing.
    """

    alpha: float

    def __post_init__(self) -> None:
        if isinstance(self.alpha, bool) or not (isinstance(self.alpha, int | float) and 0 < self.alpha <= 1):
            raise PolicyError(f"EMA: alpha is {self.alpha!r}; expected a number in (0, 1]")

    def push(self, memory: Memory, value: float) -> Memory:
        if not memory:
            return (value,)
        return (_within((memory[0], value), self.alpha * value + (1 - self.alpha) * memory[0]),)

    def read(self, memory: Memory) -> float:
        return memory[0]

    def __str__(self) -> str:
        return f"ema({format_number(self.alpha)})"


@dataclass(frozen=True)
class _WindowSmoothing(Smoothing):
    window: int

    def __post_init__(self) -> None:
        check_count(type(self).__name__, "window", self.window)

    def push(self, memory: Memory, value: float) -> Memory:
        return (*memory, value)[-self.window :]

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()}({self.window})"


@suggests_fields
@dataclass(frozen=True)
class Mean(_WindowSmoothing):
    """The mean of the last measurements.

    Args:
        window: How many measurements, at least 1. While there are fewer, the mean of those is taken.
    """

    def read(self, memory: Memory) -> float:
        return _within(memory, sum(value / len(memory) for value in memory))  # the sum of large values overflows


@suggests_fields
@dataclass(frozen=True)
class Median(_WindowSmoothing):
    """The median of the last measurements, which ignores single spikes.

    Args:
        window: How many measurements, at least 1. While there are fewer, the median of those is taken.
    """

    def read(self, memory: Memory) -> float:
        ordered, half = sorted(memory), len(memory) // 2
        middle = ordered[half : half + 1] if len(memory) % 2 else ordered[half - 1 : half + 1]
        return _within(middle, sum(value / len(middle) for value in middle))


def _within(values: Sequence[float], average: float) -> float:
    # Rounding can move an average outside the range of its values; a constant metric would then seem to improve.
    return min(max(average, min(values)), max(values))
