"""The names that a pickle gives to storages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch


class StorageNames:
    """The storages of one pickle. Each has a name for each type with which the pickle refers to it.

    Args:
        storages: Storages to which other parts of the same pickle refer. Their index is their name.
        kinds: The name of the type of each of them.
        addresses: Their indices by address.

    Attributes:
        storages: Each distinct storage.
        members: For each name, the place in ``storages``.
    """

    def __init__(
        self, storages: Sequence[torch.UntypedStorage], kinds: Sequence[str], addresses: Mapping[int, int]
    ) -> None:  # fmt: skip
        self.storages = list(storages)
        self.members = list(range(len(storages)))
        self._kinds, self._given = kinds, addresses
        self._places: dict[int, int] = {}
        self._names: dict[tuple[int, str], str] = {}

    def name(self, storage: torch.UntypedStorage, kind: str) -> str:
        """Return the name of a storage.

        By type as well: whatever is loaded under one name has one type, so torch.save refuses views of different types.

        Args:
            storage: The storage.
            kind: The name of the type.
        """
        place = self._place(storage)
        known = (place, kind)
        if known not in self._names:
            if place < len(self._kinds) and self._kinds[place] == kind:
                self._names[known] = str(place)
            else:
                self._names[known] = str(len(self.members))
                self.members.append(place)
        return self._names[known]

    def _place(self, storage: torch.UntypedStorage) -> int:
        address = storage._cdata
        place = self._given.get(address)
        if place is None:
            place = self._places.get(address)
        if place is None:
            place = self._places[address] = len(self.storages)
            self.storages.append(storage)
        return place
