"""Storages whose bytes are computed one after the other, as they are written, because there may be no room for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Computed:
    """A storage whose bytes exist only while they are written.

    Attributes:
        size: Its bytes.
        compute: Returns it.
    """

    size: int
    compute: Callable[[], torch.UntypedStorage]

    def nbytes(self) -> int:
        """Return its size, as a storage does."""
        return self.size

    def cpu(self) -> torch.UntypedStorage:
        """Return it in host memory, as a storage does."""
        return self.compute()


class ComputedStorages:
    """The computed storages of one file.

    Attributes:
        computed: What belongs into them, by their address; they have no numbers yet.
    """

    def __init__(self) -> None:
        self.computed: dict[int, Computed] = {}
        self._placeholders: list[torch.UntypedStorage] = []  # kept alive, so that no address is used twice

    def add(self, size: int, compute: Callable[[], torch.UntypedStorage]) -> torch.UntypedStorage:
        """Return a storage for tensors of the file. Nothing is in it, so it takes no memory.

        Args:
            size: Its bytes.
            compute: Returns what belongs into it.
        """
        storage = torch.UntypedStorage(size)
        self.computed[storage._cdata] = Computed(size, compute)
        self._placeholders.append(storage)
        return storage

    def fill(self) -> None:
        """Compute all numbers now, for a writer that reads them from the tensors."""
        for storage in self._placeholders:
            storage.copy_(self.computed[storage._cdata].compute(), non_blocking=False)
