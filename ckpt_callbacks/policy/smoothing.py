"""Smoothing of a noisy metric before it is compared. A smoother is a pure fold: ``(memory, value) → memory``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PolicyError

Memory = tuple[float, ...]


@dataclass(frozen=True)
class Smoothing:
    """Base of the smoothers. ``memory`` is what a smoother needs to remember, as plain floats."""

    def push(self, memory: Memory, value: float) -> Memory:
        """The memory after one more finite value."""
        raise NotImplementedError

    def read(self, memory: Memory) -> float:
        """The smoothed value of a non-empty memory."""
        raise NotImplementedError


@dataclass(frozen=True)
class EMA(Smoothing):
    """Exponential moving average: ``s = alpha * x + (1 - alpha) * s``, starting at the first value.

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
        return f"ema({exact(self.alpha)})"


@dataclass(frozen=True)
class _Window(Smoothing):
    window: int

    def __post_init__(self) -> None:
        if not isinstance(self.window, int) or isinstance(self.window, bool) or self.window < 1:
            raise PolicyError(
                f"{type(self).__name__}: window is {self.window!r}; expected a whole number of at least 1"
            )

    def push(self, memory: Memory, value: float) -> Memory:
        return (*memory, value)[-self.window :]

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()}({self.window})"


@dataclass(frozen=True)
class Mean(_Window):
    """Mean of the last ``window`` measurements; of as many as there are, while there are fewer."""

    def read(self, memory: Memory) -> float:
        return _within(memory, sum(value / len(memory) for value in memory))  # the sum of large values overflows


@dataclass(frozen=True)
class Median(_Window):
    """Median of the last ``window`` measurements: ignores single spikes."""

    def read(self, memory: Memory) -> float:
        ordered, half = sorted(memory), len(memory) // 2
        middle = ordered[half : half + 1] if len(memory) % 2 else ordered[half - 1 : half + 1]
        return _within(middle, sum(value / len(middle) for value in middle))


def _within(values: Sequence[float], average: float) -> float:
    # Rounding can take an average outside of what was averaged; a constant metric would seem to improve.
    return min(max(average, min(values)), max(values))


def exact(number: float) -> str:
    """``number`` in full, and the same for 20 and 20.0, so that it may stand in a name or a key."""
    return str(int(number)) if number == int(number) else str(number)
