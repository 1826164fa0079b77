"""A checkpoint that is mapped into memory instead of being read in full first."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import os
import threading
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from ..formats.torch.readable_name import readable_name

_MAPPED = ("state_dict", "optimizer_states")  # keys whose tensors may stay in the file's pages for a while


def can_map(path: Any) -> bool:
    """Return True if ``path`` is a local file in the format that `torch.load` can map into memory."""
    return isinstance(path, (str, os.PathLike)) and os.path.isfile(path) and zipfile.is_zipfile(path)


class MappedCheckpoint:
    """A checkpoint as `torch.load` returns it, whose tensors are mapped pages of the file at first.

    A model copies weights into its own tensors when it loads them. Optimizers keep the tensors that they receive, and
    the mapped pages would keep a deleted file on the disk. A thread therefore copies these tensors before the first
    optimizer step, and `detach` puts the copies in their place. Everything else is copied at once.

    Args:
        path: The file; see `can_map`.
        map_location: As for `torch.load`.
        weights_only: As for `torch.load`.

    Attributes:
        loaded: The checkpoint, until `detach` is called.
    """

    def __init__(
        self, path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None
    ) -> None:
        settings: dict[str, Any] = {"map_location": map_location, "weights_only": weights_only}
        with readable_name(path) as name:
            loaded = torch.load(name, mmap=True, **settings)
        kept = list(_tensors(loaded.get("optimizer_states"))) if isinstance(loaded, dict) else []
        if not isinstance(loaded, dict) or not all(
            map(_is_plain, kept)
        ):  # the memory of sparse tensors cannot be replaced
            with open(path, "rb") as file:
                loaded, kept = torch.load(file, mmap=False, **settings), []
        else:
            copied = copy.deepcopy({name: value for name, value in loaded.items() if name not in _MAPPED})
            loaded = {name: copied.get(name, value) for name, value in loaded.items()}
        self.loaded: Any = loaded
        self._storages = {s.data_ptr(): s for s in (tensor.untyped_storage() for tensor in kept) if s.nbytes()}
        self._copies: dict[int, torch.UntypedStorage] = {}
        self._thread: threading.Thread | None = None

    def copy_in_background(self) -> None:
        """Start copying the optimizers' tensors that are in host memory."""
        thread = threading.Thread(target=self._copy, name="ckpt_callbacks restore", daemon=True)
        with contextlib.suppress(RuntimeError):  # if no thread can be started, `detach` copies
            thread.start()
            self._thread = thread

    def detach(self, optimizers: Sequence[Optimizer]) -> None:
        """Move the optimizers' tensors from the file's pages into memory. Other tensors stay as they are."""
        if self._thread is not None:
            self._thread.join()
        copies: dict[int, torch.UntypedStorage] = {}
        for optimizer in optimizers:
            for tensor in filter(_is_plain, _tensors(list(optimizer.state.values()))):
                storage = tensor.untyped_storage()
                place = storage.data_ptr()
                if place not in self._storages:
                    continue
                if place not in copies:
                    # A callback may have changed it through `.data`, or a fused step, without leaving a trace.
                    copied = self._copies.get(place)
                    copies[place] = copied if copied is not None and _same(copied, storage) else storage.clone()
                with torch.no_grad():  # some tensors are leaves of a graph
                    tensor.set_(copies[place], tensor.storage_offset(), tensor.size(), tensor.stride())
        self._storages, self._copies, self.loaded = {}, {}, None

    def _copy(self) -> None:
        for place, storage in self._storages.items():
            copied = torch.UntypedStorage(storage.nbytes())
            ctypes.memmove(copied.data_ptr(), place, storage.nbytes())  # without the interpreter's lock
            self._copies[place] = copied


def _same(one: torch.UntypedStorage, other: torch.UntypedStorage) -> bool:
    """Return True if two storages of one size hold equal bytes."""
    first, second = (torch.empty(0, dtype=torch.uint8).set_(storage) for storage in (one, other))
    whole = len(first) // 8 * 8  # comparing words of eight bytes takes a seventh of the time
    words = (bytes_[:whole].view(torch.int64) for bytes_ in (first, second))
    return torch.equal(*words) and torch.equal(first[whole:], second[whole:])


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
