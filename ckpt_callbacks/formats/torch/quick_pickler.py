"""A pickler for objects that contain only plain tensors, in which no Python code runs for other values.

torch's way to pickle takes a Python call for each object, and several for each tensor. It is kept for all others.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import torch

from .opcodes import PROTOCOL, storage_piece, storage_type
from .placeholders import placeholder
from .storage_names import StorageNames

_TENSORS = (torch.Tensor, torch.UntypedStorage, torch.storage.TypedStorage)


class QuickPickler(pickle.Pickler):
    """A pickler that puts a placeholder for each storage.

    Args:
        file: Where the pickle goes.
        names: The names of the storages.

    Attributes:
        pieces: What to put in the places of the placeholders.
    """

    def __init__(self, file: io.BytesIO, names: StorageNames) -> None:
        super().__init__(file, PROTOCOL)
        self._names, self._count = names, 0
        self.pieces: dict[int | str, bytes] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle a tensor, and leave all else to pickle.

        Raises:
            NotImplementedError: It is a tensor of an unusual kind, or a storage.
        """
        if _is_plain(obj):
            return torch._utils._rebuild_tensor_v2, self._arguments(obj)
        if isinstance(obj, _TENSORS):
            raise NotImplementedError("an unusual tensor")
        return NotImplemented

    def _arguments(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        storage, kind = tensor.untyped_storage(), storage_type(tensor.dtype)
        assert kind is not None
        key, self._count = f"storage_{self._count}", self._count + 1
        count = storage.nbytes() // tensor.element_size()
        location = torch.serialization.location_tag(storage)
        self.pieces[key] = storage_piece(kind, self._names.name(storage, kind), location, count)
        return (
            placeholder(key), tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), False, OrderedDict(),
        )  # fmt: skip


def _is_plain(obj: Any) -> bool:
    if type(obj) is not torch.Tensor or obj.layout is not torch.strided or storage_type(obj.dtype) is None:
        return False
    return not (obj.requires_grad or obj.is_neg() or obj.__dict__)
