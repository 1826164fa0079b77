"""A pickler for the checkpoints of one training run. It keeps the parts of the pickle that do not change."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .flat_state import FlatState, flat_state
from .format import KEY
from .opcodes import only_plain
from .pickler import Pickled, pickled
from .placeholders import placeholder, replaced
from .quick_pickler import QuickPickler
from .storage_names import StorageNames
from .structure import Structure

_OFTEN_PLAIN = (KEY, "loops")  # keys whose values normally contain no tensors


@dataclass(frozen=True)
class PickledParts(Pickled):
    """A checkpoint whose weights and optimizer states were pickled by a `Structure`.

    Attributes:
        structure: The structure. Its storages come first in ``storages``, and each has one name.
        tensors: The tensors of the structure.
    """

    structure: Structure
    tensors: Sequence[torch.Tensor]


class CheckpointPickler:
    """Pickles checkpoints, and keeps the `Structure` of the last one."""

    def __init__(self) -> None:
        self._structure: Structure | None = None
        self._is_quick = True  # no other part contains unusual tensors, as far as is known
        self._unusual: list[list[Any]] | None = None  # the keys of the last parts that no structure could pickle

    def pickled(self, checkpoint: Any) -> Pickled:
        """Pickle a checkpoint so that `torch.load` reads it.

        Args:
            checkpoint: Anything that `torch.save` takes. A dictionary with the keys of a Lightning checkpoint takes
                the least time for each tensor.

        Returns:
            The pickle; a `PickledParts` if a `Structure` has pickled parts of the checkpoint.

        Raises:
            Exception: Whatever the user's own class raises when it is pickled.
        """
        flat = flat_state(checkpoint)
        keys = [part.keys for part in flat.parts] if flat is not None else None
        if flat is None or keys == self._unusual:  # to fail again would take longer than to pickle
            return pickled(checkpoint)
        try:
            return self._in_parts(flat)
        except Exception:  # something unusual, such as a sparse tensor; `pickled` takes it, or says what is wrong
            self._unusual = keys
            return pickled(checkpoint)

    def _in_parts(self, flat: FlatState) -> PickledParts:
        structure, storages = self._structure, None
        if structure is None or (storages := structure.storages_of(flat)) is None:
            self._structure = None  # first, so that the old and the new one are never held together
            structure = Structure(flat)
            storages = structure.take_storages()
        pieces: dict[int | str, bytes] = {}
        for key in _OFTEN_PLAIN:
            if key in flat.rest and (piece := only_plain(flat.rest[key])) is not None:
                pieces[key], flat.rest[key] = piece, placeholder(key)
        rest = self._rest(flat.rest, structure, storages, pieces)
        if (most := len(rest.data) // 3) >= structure.first_memo:  # each entry takes at least three bytes
            structure = Structure(flat, 1 << most.bit_length())
            structure.take_storages()
        self._structure = structure
        pieces |= enumerate(structure.pickled(flat.parts))
        return PickledParts(replaced(rest.data, pieces), rest.storages, rest.members, structure, flat.tensors)

    def _rest(
        self,
        rest: Any,
        structure: Structure,
        storages: Sequence[torch.UntypedStorage],
        pieces: dict[int | str, bytes],
    ) -> Pickled:
        """Pickle what is outside of the parts, and add the pieces for its placeholders."""
        if self._is_quick:
            names = StorageNames(storages, structure.kinds, structure.addresses)
            pickler = QuickPickler(buffer := io.BytesIO(), names)
            try:
                pickler.dump(rest)
            except NotImplementedError:
                self._is_quick = False  # the next one will probably contain the same
            else:
                pieces |= pickler.pieces
                return Pickled(buffer.getvalue(), tuple(names.storages), tuple(names.members))
        return pickled(rest, StorageNames(storages, structure.kinds, structure.addresses))
