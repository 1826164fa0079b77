"""Pickling as `torch.save` does it: a pickle of everything except the tensors' data, and the storages that hold it.

The stream is the one that `torch.load` has read since torch 1.6; see `torch.serialization._save`.
"""

from __future__ import annotations

import functools
import io
import pickle
import zipfile
from dataclasses import dataclass
from typing import Any

import torch

from .storage_names import StorageNames

_PLAIN = frozenset(
    {str, int, tuple, dict, bool, float, list, type(None), type, type(len)}
)  # most of what a pickle holds


@dataclass(frozen=True)
class Pickled:
    """An object without its tensors' numbers. All other values are those at the time of pickling.

    Attributes:
        data: The pickle; it names storages ``"0"``, ``"1"``, ...
        storages: Each distinct storage, kept alive.
        members: For each name, the place in ``storages``. One place may have several names: views of different types.
    """

    data: bytes
    storages: tuple[torch.UntypedStorage, ...]
    members: tuple[int, ...]


def pickled(obj: Any, names: StorageNames | None = None) -> Pickled:
    """Pickle an object as `torch.save` does.

    Storages are kept whole, even if only a small view of them is used. `torch.save` does the same, and tied tensors
    stay tied.

    Args:
        obj: The object.
        names: The names of storages to which other parts of the same pickle refer.

    Raises:
        Exception: Whatever the user's own class raises when it is pickled.
    """
    names = names or StorageNames((), (), {})
    _Pickler(buffer := io.BytesIO(), names).dump(obj)
    return Pickled(buffer.getvalue(), tuple(names.storages), tuple(names.members))


@functools.cache
def is_known() -> bool:
    """Return True if this torch pickles as this module does. This is tested, because some names are private."""
    shared = torch.arange(6.0)
    probe = {
        "a": [shared, shared[1:3]],
        "b": (torch.nn.Parameter(shared.to(torch.bfloat16)), 1, "x"),
        "c": torch.ones(0),
    }
    try:
        torch.save(probe, buffer := io.BytesIO())
        with zipfile.ZipFile(buffer) as archive:
            theirs = next(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
        return theirs == pickled(probe).data
    except Exception:  # whatever a changed private name leads to
        return False


class _Pickler(pickle.Pickler):
    """A pickler that notes storages instead of writing them."""

    def __init__(self, file: io.BytesIO, names: StorageNames) -> None:
        super().__init__(file, protocol=torch.serialization.DEFAULT_PROTOCOL)
        self._names = names

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        if type(obj) in _PLAIN:
            return None
        if isinstance(obj, torch.storage.TypedStorage):
            storage, kind, count = obj._untyped_storage, getattr(torch, obj._pickle_storage_type()), obj._size()
        elif isinstance(obj, torch.UntypedStorage):
            storage, kind, count = obj, torch.serialization.normalize_storage_type(type(obj)), obj.nbytes()
        else:
            return None
        name = self._names.name(storage, kind.__name__)
        return ("storage", kind, name, torch.serialization.location_tag(storage), count)
