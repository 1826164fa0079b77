"""The interface through which a `Run` reads the state of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .snapshot import Snapshot


@dataclass(frozen=True)
class Embedded:
    """The data that this package adds to the framework's own state in a checkpoint.

    Attributes:
        record: The record of the checkpoint as plain JSON values, from which a lost manifest is rebuilt.
        run: The state from which `Run.restore` continues the run, as plain JSON values.
        contents: ``"full"``, or ``"weights"`` for a checkpoint without optimizer state.
        names: Whether the file must also name the parameters that are frozen and, if their place in it is not known
            otherwise, the averaged weights; see `ckpt_callbacks.formats.reduction`.
    """

    record: Mapping[str, Any]
    run: Mapping[str, Any]
    contents: str
    names: bool = False

    @property
    def weights_only(self) -> bool:
        """True for a checkpoint that no run can be resumed from."""
        return self.contents != "full"


class Source(Protocol):
    """A training run, as its adapter provides it to a `Run`."""

    def snapshot(self, embedded: Embedded) -> Snapshot:
        """Return the current state of training.

        Called on the training thread, on every process, and only when a save is due.

        Args:
            embedded: What the file must hold in addition to the framework's own state.
        """

    def metadata(self) -> Mapping[str, Any]:
        """Return facts for the record, such as the model's name. Called on the primary process when a save is due."""
