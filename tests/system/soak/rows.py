"""The rows of the soak test: runs that are killed and resumed, and must end as if nothing had happened."""

from __future__ import annotations

from dataclasses import dataclass

LIGHTNING = ("lightning",)
KERAS = ("tensorflow", "torch", "jax")
RUNS = {"lightning": 8, "tensorflow": 3, "torch": 3, "jax": 3}  # of each row, in `make soak`


@dataclass(frozen=True)
class Row:
    """One kind of training run.

    Attributes:
        name: The name in the documents.
        what: A description of the run.
        engines: The engines that it runs on: ``lightning``, or Keras' backends.
        updates: The number of optimizer updates in an epoch.
        total: The number of optimizer updates in the whole run.
        processes: The number of ranks.
    """

    name: str
    what: str
    engines: tuple[str, ...]
    updates: int
    total: int
    processes: int = 1


ROWS = (
    Row("lightning-plain", "plain DataLoader, saved at epoch ends", LIGHTNING, 10, 40),
    Row("lightning-stateful", "StatefulDataLoader, saved in mid-epoch", LIGHTNING, 10, 40),
    Row("lightning-ddp", "DDP with 2 processes, saved in mid-epoch", LIGHTNING, 5, 20, processes=2),
    Row("lightning-plateau-epoch", "ReduceLROnPlateau by epoch", LIGHTNING, 10, 40),
    Row("lightning-plateau-step", "ReduceLROnPlateau by step, saved in mid-epoch", LIGHTNING, 10, 40),
    Row("lightning-max-steps", "max_steps in mid-epoch, saved at epoch ends", LIGHTNING, 10, 36),
    Row("lightning-val-check", "val_check_interval=0.5, saved after each validation", LIGHTNING, 10, 40),
    Row("lightning-accumulation", "gradients of 3 batches accumulated, saved in mid-epoch", LIGHTNING, 4, 16),
    Row("lightning-plain-mid-epoch", "plain DataLoader, saved in mid-epoch", LIGHTNING, 10, 40),
    Row("keras-arrays", "arrays with shuffle, saved at epoch ends", KERAS, 8, 32),
    Row("keras-pydataset", "PyDataset, saved in mid-epoch", KERAS, 8, 32),
    Row("keras-mid-epoch", "arrays with shuffle, saved in mid-epoch", KERAS, 8, 32),
    Row("keras-dropout-batchnorm", "Dropout and BatchNormalization, saved in mid-epoch", KERAS, 8, 32),
    Row("keras-adamw-schedule", "AdamW with a schedule, saved in mid-epoch", KERAS, 8, 32),
    Row("keras-siblings", "with EarlyStopping and ReduceLROnPlateau, saved in mid-epoch", KERAS, 8, 40),
)
BY_NAME = {row.name: row for row in ROWS}


def ci_engine(row: Row) -> str:
    """Return the one engine that the row runs on in CI; each backend gets some of the rows."""
    return row.engines[ROWS.index(row) % len(row.engines)]
