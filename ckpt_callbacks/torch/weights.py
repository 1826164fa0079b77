"""An identity of a module's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

_WHOLE, _SAMPLED = 4096, 256  # elements; reading all of a large tensor would take as long as copying it


@dataclass(frozen=True)
class Weights:
    """An identity of the parameters and buffers of a module.

    Attributes:
        versions: The address of each tensor, and how often torch has changed it. Changes through ``.data`` do not show
            here, but setting a value to what it was does.
        trained: A digest of each parameter with gradients and its place, or of evenly spaced elements of a large one.
            It changes whenever averages or other weights replace these, no matter how.
        others: The same for all other parameters, and for buffers.
    """

    versions: str
    trained: str
    others: str


def weights_of(module: torch.nn.Module) -> Weights | None:
    """Return an identity of a module's weights; None if they have none, such as lazy parameters and sparse tensors.

    This takes a few milliseconds.
    """
    try:
        tensors = [*module.parameters(), *module.buffers()]
        trained = {place: tensor.detach() for place, tensor in enumerate(tensors) if tensor.requires_grad}
        others = {place: tensor.detach() for place, tensor in enumerate(tensors) if not tensor.requires_grad}
        return Weights(_versions(tensors), _content(trained), _content(others))
    except (NotImplementedError, RuntimeError, TypeError, ValueError):  # whatever a kind of tensor does not support
        return None


def _versions(tensors: Iterable[torch.Tensor]) -> str:
    return hashlib.sha256(str([(tensor.data_ptr(), tensor._version) for tensor in tensors]).encode()).hexdigest()


def _content(tensors: Mapping[int, torch.Tensor]) -> str:
    samples: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    for tensor in tensors.values():
        if type(tensor) is not torch.Tensor:
            raise TypeError(type(tensor).__name__)
        if not tensor.is_contiguous():  # in the order of the memory (channels_last), so that nothing is copied
            tensor = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
        flat = tensor.reshape(-1)
        sample = flat if len(flat) <= _WHOLE else flat[:: len(flat) // _SAMPLED]
        samples.setdefault((tensor.device, tensor.dtype), []).append(sample)
    hasher = hashlib.sha256(str(list(tensors)).encode())
    for alike in samples.values():
        # One copy from the device for all tensors of a type.
        hasher.update(torch.cat(alike).cpu().view(torch.uint8).numpy())
    return hasher.hexdigest()
