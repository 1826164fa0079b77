"""The inside of a ``.ckpt`` file, for a comparison with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import StoreError, VerifyError, first_line
from ..inside import PIECE, Inside, WeightOnDisk
from .format import KEY
from .quantized_state import QuantizedWeight, read_weights
from .without_code import read

_SETTINGS = {"hyper_parameters": "", "datamodule_hyper_parameters": "datamodule"}  # Lightning's keys, and a prefix


@contextmanager
def look(path: Path) -> Iterator[Inside]:
    """Open a file for comparison; its tensors stay on the disk until they are read.

    Args:
        path: The file.

    Raises:
        VerifyError: The file is damaged.
        StoreError: The file is of another kind.
    """
    try:
        found = read(path)
        state = found.get("state_dict", found) if isinstance(found, dict) else None
        weights = read_weights(found, state) if isinstance(state, Mapping) else {}
    except OSError:
        raise
    except Exception as error:  # torch raises all kinds of errors when a file is damaged
        raise VerifyError(f"{path}: torch cannot open it: {first_line(error)}") from error
    tensors = {name: value for name, value in weights.items() if _is_readable(value)}
    if not tensors:
        raise StoreError(f"{path}: holds no weights; expected a state_dict of tensors")
    yield Inside(
        "a torch file",
        {str(name): _entry(path, str(name), tensor) for name, tensor in tensors.items()},
        _settings(found, {} if state is found else {n: v for n, v in weights.items() if n not in tensors}),
        _facts(found),
        record_in(found.get(KEY)),
    )


def record_in(facts: object) -> Mapping[str, Any] | None:
    """Return the record in this package's data; None if there is none."""
    record = facts.get("record") if isinstance(facts, dict) else None
    return record if isinstance(record, dict) else None


def _is_readable(value: object) -> bool:
    return isinstance(value, QuantizedWeight) or (isinstance(value, torch.Tensor) and value.device.type != "meta")


def _entry(path: Path, name: str, tensor: torch.Tensor | QuantizedWeight) -> WeightOnDisk:
    if isinstance(tensor, QuantizedWeight):
        return WeightOnDisk(tensor.shape, tensor.dtype, partial(_quantized_pieces, path, name, tensor))
    return WeightOnDisk(
        tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), partial(_pieces, path, name, tensor)
    )


def _pieces(path: Path, name: str, tensor: torch.Tensor) -> Iterator[np.ndarray]:
    try:
        plain = tensor.dequantize() if tensor.is_quantized else tensor.to_dense()
        flat = plain.detach().resolve_conj().resolve_neg().reshape(-1)
        for start in range(0, flat.numel(), PIECE):
            piece = flat[start : start + PIECE]
            yield piece.to(torch.complex128 if piece.is_complex() else torch.float64).numpy()
    except (NotImplementedError, RuntimeError) as error:
        raise StoreError(f"{path}: {name} of type {tensor.dtype} cannot be compared: {first_line(error)}") from error


def _quantized_pieces(path: Path, name: str, weight: QuantizedWeight) -> Iterator[np.ndarray]:
    try:
        tensor = weight.tensor()
    except (RuntimeError, ValueError) as error:
        raise VerifyError(f"{path}: {name}: {first_line(error)}") from error
    yield from _pieces(path, name, tensor)


def _settings(found: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, prefix in _SETTINGS.items():
        if isinstance(held := found.get(name), Mapping):
            settings |= {prefix: dict(held)} if prefix else dict(held)
    return settings | ({"state_dict": dict(others)} if others else {})


def _facts(found: Mapping[str, Any]) -> dict[str, Any]:
    names = {"global_step": "step", "epoch": "epoch", "pytorch-lightning_version": "lightning"}
    return {shown: found[name] for name, shown in names.items() if name in found}
