"""The host memory that one snapshot of a model is copied into, divided as its file plan says."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..formats.finite import Numbers
from ..memory.arena import Arena
from .model.copy import Target

if TYPE_CHECKING:  # it needs internals of Keras that may be missing
    from .model.file_plan import FilePlan


@dataclass(frozen=True)
class Places:
    """The places of a snapshot in memory.

    Attributes:
        data: The bytes of each entry of the plan.
        targets: The same places, to copy variables into.
        trained: Those that training changes.
        own: The bytes for arrays of other callbacks.
    """

    data: Sequence[memoryview]
    targets: Sequence[Target]
    trained: Sequence[Numbers]
    own: memoryview


class ModelMemory(Arena):
    """An arena that keeps its division from save to save: for a thousand variables, a new one takes 5 ms."""

    def __init__(self) -> None:
        super().__init__()
        self._places: Places | None = None
        self._plan: weakref.ref[FilePlan] | None = None  # weak, because a plan keeps a model's variables alive

    def places(self, plan: FilePlan, own: int) -> Places:
        """Return the places of a snapshot, which are valid until the next call.

        Args:
            plan: The plan of the model's file.
            own: The bytes that arrays of other callbacks need.

        Raises:
            NotEnoughMemory: The machine has too little left.
        """
        kept = self._places
        if kept is None or self._plan is None or self._plan() is not plan or len(kept.own) != own:
            self._places = kept = None  # first, so that old and new memory are never held together
            *data, rest = self.carve([*plan.sizes, own])
            targets = [Target(view, entry.dtype, entry.shape) for view, entry in zip(data, plan.entries, strict=True)]
            trained = [(data[number], plan.entries[number].dtype.name) for number in plan.trained]
            self._places, self._plan = (kept := Places(data, targets, trained, rest)), weakref.ref(plan)
        return kept

    def reserve(self, size: int) -> None:
        if size > self.size:
            self._places = None  # views of the old memory, which would stay
        super().reserve(size)

    def release(self) -> None:
        self._places = None
        super().release()
