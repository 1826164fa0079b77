"""A trainer as the source of a run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from ..run.snapshot import Snapshot
from ..run.source import Embedded
from .averaging import AveragedWeights
from .checkpoint_io import StagedCheckpointIO
from .metadata import training_metadata


class TrainerSource:
    """The training state of one fit, for `Run.start`.

    Args:
        trainer: The trainer.
        io: Collects the checkpoints.
        averages: Averaged weights, which are not part of the training state.
    """

    def __init__(self, trainer: Trainer, io: StagedCheckpointIO, averages: AveragedWeights) -> None:
        self._trainer, self._io, self._averages = trainer, io, averages

    def snapshot(self, embedded: Embedded) -> Snapshot:
        """Return a snapshot of the training state; see `Source`."""
        return self._averages.snapshot_without(
            self._trainer, lambda: self._io.snapshot(embedded), self._io.staging.wait
        )  # fmt: skip

    def metadata(self) -> Mapping[str, Any]:
        """Return the metadata of the training run, for a record."""
        return training_metadata(self._trainer, self._io.hyperparameters)
