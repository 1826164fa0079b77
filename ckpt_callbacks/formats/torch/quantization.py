"""Symmetric quantization of one tensor, with one scale for each output channel, which is the first dimension.

A value is ``scale * n``, where ``n`` is a whole number from -127 to 127 in ``int8``, and from -7 to 7 in ``int4``. The
largest absolute value of a channel gets the largest number, so that no value is off by more than half a scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ..reduction import LEVELS, Error, error_of

_CHUNK = 1 << 22  # numbers that are computed together
_SMALLEST = torch.finfo(torch.float32).tiny  # a scale, so that zeros can be divided by it


def scales(tensor: torch.Tensor, dtype: str) -> torch.Tensor | None:
    """Return the scale of each channel; None if values are not finite, or too large for any scale in float32.

    Args:
        tensor: The tensor, with two dimensions or more.
        dtype: ``"int8"`` or ``"int4"``.
    """
    largest = torch.cat([rows.abs().amax(1) for rows in _rows(tensor)])  # NaN if there is one
    found = (largest.double() / LEVELS[dtype]).clamp(min=_SMALLEST).float()
    return found if bool(found.isfinite().all()) else None


def shape_of_numbers(shape: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """Return the shape of the whole numbers of a tensor with this shape, in bytes."""
    return shape if dtype == "int8" else (shape[0], (math.prod(shape[1:]) + 1) // 2)


def quantized(tensor: torch.Tensor, scale: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return the whole numbers of a tensor.

    Those of ``int8`` have its shape. Those of ``int4`` are a row of bytes for each channel, with two numbers in a byte,
    the first one in the lower half, and 8 added to each.

    Args:
        tensor: The tensor, with two dimensions or more.
        scale: As `scales` returns it.
        dtype: ``"int8"`` or ``"int4"``.
    """
    rows = torch.cat([chunk for chunk, _ in _rounded(tensor, scale, dtype)])
    if dtype == "int8":
        return rows.reshape(tensor.shape)
    halves = torch.nn.functional.pad((rows + 8).to(torch.uint8), (0, rows.shape[1] % 2), value=8)
    return halves[:, 0::2] | (halves[:, 1::2] << 4)


def dequantized(numbers: torch.Tensor, scale: torch.Tensor, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor in float32 from what `quantized` has returned.

    Args:
        numbers: The whole numbers.
        scale: The scale of each channel.
        dtype: ``"int8"`` or ``"int4"``.
        shape: The shape of the tensor.

    Raises:
        ValueError: The parts do not fit together.
    """
    size = math.prod(shape[1:])
    if dtype == "int4":
        numbers = torch.stack((numbers & 15, numbers >> 4), 2).flatten(1)[:, :size].to(torch.int8) - 8
    if numbers.numel() != math.prod(shape) or scale.shape != shape[:1]:
        raise ValueError(f"{tuple(numbers.shape)} numbers and {tuple(scale.shape)} scales; expected {shape}")
    return (numbers.reshape(shape[0], size) * scale[:, None]).reshape(shape)


def error(tensor: torch.Tensor, scale: torch.Tensor, dtype: str) -> Error:
    """Return the largest absolute error, and the same as a part of the tensor's largest absolute value.

    It is that of the values as they are loaded: in the tensor's own type, to which they are rounded a second time.
    """
    worst = largest = 0.0
    for (chunk, part), rows in zip(_rounded(tensor, scale, dtype), _rows(tensor), strict=True):
        loaded = (chunk * part).to(tensor.dtype)
        wide = loaded.float() if tensor.itemsize < part.itemsize else loaded  # 16 bits cannot hold each difference
        worst = max(worst, float(wide.sub_(rows).abs_().max()))
        largest = max(largest, float(rows.abs().max()))
    return error_of(worst, largest)


def _rows(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    rows = tensor.detach().reshape(tensor.shape[0], -1)
    yield from rows.split(max(1, _CHUNK // rows.shape[1]))


def _rounded(tensor: torch.Tensor, scale: torch.Tensor, dtype: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the whole numbers of some channels, as int8, with their scales."""
    start, most = 0, LEVELS[dtype]
    for rows in _rows(tensor):
        part = scale[start : start + len(rows), None]
        start += len(rows)
        wide = rows.to(torch.float64 if rows.dtype is torch.float64 else torch.float32)
        yield (wide / part).round_().clamp_(-most, most).to(torch.int8), part
