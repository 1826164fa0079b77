"""The facts about tensors that a pickle holds apart from their numbers, compared from save to save."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import torch

from .opcodes import storage_type

# By `map`, because a loop over thousands of tensors takes twice as long.
_dtype, _shape, _device, _requires_grad, _attributes, _address = map(
    attrgetter, ("dtype", "shape", "device", "requires_grad", "__dict__", "_cdata")
)
_storage, _stride, _offset = torch.Tensor.untyped_storage, torch.Tensor.stride, torch.Tensor.storage_offset
_OF_ONE: tuple[Callable[[torch.Tensor], Any], ...] = (
    _dtype, _device, _requires_grad, torch.Tensor.is_neg, _shape, _stride,
)  # fmt: skip
DEVICES = ("cpu", "cuda")  # those whose storages can be copied
_Check = Callable[..., bool]


class TensorFacts:
    """The types, shapes and layouts of tensors, and how they share storages.

    Args:
        tensors: The tensors.

    Attributes:
        kinds: For each tensor, the name that the pickle gives to the type of its storage.
        places: The number of the storage of each tensor. Storages are numbered as they appear.
        sources: For each storage, the number of the first tensor that uses it.
        sizes: The size of each storage in bytes.
        addresses: The place of each storage, by the address of its object at the last save.
        storages: The storages, until the caller takes them: memory that training gives up must not be kept.

    Raises:
        NotImplementedError: A tensor is unusual, so that only `pickle` can write it.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._of_each = dtypes, devices, gradients, negated, *_ = _of_each(tensors)
        unusual = any(gradients) or any(negated) or any(map(_attributes, tensors))
        if unusual or not {device.type for device in set(devices)} <= set(DEVICES):
            raise NotImplementedError("an unusual tensor")
        self.kinds = [kind for kind in map(storage_type, dtypes) if kind is not None]
        if len(self.kinds) < len(tensors):
            raise NotImplementedError("a tensor of an unusual type")
        self._offsets = list(map(_offset, tensors))
        found = list(map(_storage, tensors))
        self._all = list(map(_address, found))
        self.places, self.addresses = _numbered(self._all)
        first = dict(zip(reversed(self.places), reversed(range(len(found))), strict=True))
        self.sources = [first[place] for place in range(len(first))]
        self._distinct = _picker(self.sources, len(found))
        self.storages = self._distinct(found)
        self.sizes = list(map(torch.UntypedStorage.nbytes, self.storages))
        self._check: _Check | None = None  # what torch compares tensors with; see `_checks`
        self._is_first = True

    def storages_of(self, tensors: Sequence[torch.Tensor]) -> list[torch.UntypedStorage] | None:
        """Return the storages of later tensors, one of each; None if anything differs but their numbers."""
        if not (self._has_alike(tensors) and list(map(_offset, tensors)) == self._offsets):
            return None
        if any(map(_attributes, tensors)):
            return None
        found = list(map(_storage, tensors))
        if (addresses := list(map(_address, found))) != self._all:
            places, numbered = _numbered(addresses)
            if places != self.places:
                return None
            self._all, self.addresses = addresses, numbered
        distinct = self._distinct(found)
        return distinct if list(map(torch.UntypedStorage.nbytes, distinct)) == self.sizes else None

    def _has_alike(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Return whether tensors have the types, devices, shapes and strides of these."""
        if self._check is not None and len(tensors) == len(self.places) and self._check(*tensors):
            return True
        if _of_each(tensors) != self._of_each:
            return False
        if self._is_first and _can_check():  # not for the first save, which takes longest
            self._check = _checks(tensors)
        self._is_first = False
        return True


def _of_each(tensors: Sequence[torch.Tensor]) -> list[list[Any]]:
    return [list(map(of_one, tensors)) for of_one in _OF_ONE]


def _numbered(addresses: Sequence[int]) -> tuple[list[int], dict[int, int]]:
    """Return the number of each address, and the numbers by address."""
    seen: dict[int, int] = {}
    return [seen.setdefault(address, len(seen)) for address in addresses], seen


def _picker(sources: Sequence[int], count: int) -> Callable[[list[Any]], list[Any]]:
    """Return what picks the items at ``sources`` from a list of ``count`` items."""
    if len(sources) == count:
        return lambda items: items
    pick = itemgetter(*sources)
    return (lambda items: list(pick(items))) if len(sources) > 1 else lambda items: [pick(items)]


def _checks(tensors: Sequence[torch.Tensor]) -> _Check:
    """Return torch's own comparison, with which compiled code recognises its inputs: all facts of a tensor in one go.

    It returns False for a tensor that occurs twice, and in another mode, such as inference mode.
    """
    from torch._C._dynamo.guards import TensorGuards

    sizes, strides = ([list(map(int, found)) for found in map(of_one, tensors)] for of_one in (_shape, _stride))
    check: _Check = TensorGuards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
    return check


@functools.cache
def _can_check() -> bool:
    """Return True if this torch compares as `_checks` expects. This is tested, because the names are private."""
    try:
        with torch.inference_mode(False):  # the first save may be in that mode
            one = torch.arange(6.0).view(2, 3)
            others = [one.double(), one.view(3, 2), one.view(1, 2, 3), one.t().contiguous().t(), torch._neg_view(one)]
            others += [one.clone().requires_grad_(), one.to("meta"), torch.nn.Parameter(one)]
            check = _checks([one, one.clone()])
            return check(one.clone(), one.clone()) and not any(check(one, other) for other in others)
    except Exception:  # whatever a changed private name leads to
        return False
