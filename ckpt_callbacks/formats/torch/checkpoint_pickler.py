"""A pickler for the checkpoints of one training run. It keeps the parts of the pickle that do not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .flat_state import FlatState, flat_state, placeholder
from .format import KEY
from .opcodes import only_plain, text
from .pickler import Pickled, pickled
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
        structure = self._structure
        if structure is None or not structure.fits(flat):
            self._structure = None  # first, so that the old and the new one are never held together
            structure = Structure(flat)
        pieces: dict[int | str, bytes] = {}
        for key in _OFTEN_PLAIN:
            if key in flat.rest and (piece := only_plain(flat.rest[key])) is not None:
                pieces[key], flat.rest[key] = piece, placeholder(key)
        storages = [flat.tensors[source].untyped_storage() for source in structure.sources]
        rest = pickled(flat.rest, storages, structure.kinds)
        if (most := len(rest.data) // 3) >= structure.first_memo:  # each entry takes at least three bytes
            structure = Structure(flat, 1 << most.bit_length())
        self._structure = structure
        pieces |= enumerate(structure.pickled(flat.parts))
        return PickledParts(_replaced(rest.data, pieces), rest.storages, rest.members, structure, flat.tensors)


def _replaced(data: bytes, pieces: Mapping[int | str, bytes]) -> bytes:
    """Return a pickle with the pieces in place of their placeholders."""
    found = []
    for part, piece in pieces.items():
        stands = text(placeholder(part))
        if data.count(stands) != 1:
            raise NotImplementedError("a placeholder does not occur exactly once")
        found.append((data.index(stands), len(stands), piece))
    joined: list[bytes] = []
    end = 0
    for begin, length, piece in sorted(found):
        joined += data[end:begin], piece
        end = begin + length
    return b"".join((*joined, data[end:]))
