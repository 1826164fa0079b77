"""The deliberate differences between Keras' own callbacks and the drop-ins, as docs/drop-ins.md names them."""

from __future__ import annotations

import string
from typing import Any

from ...config.meaning import Deviation


def fields(filepath: str) -> set[str]:
    """Return the names in the template of a path; an empty set if it is no template."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(filepath) if name}
    except ValueError:
        return set()


def _saves_best(callback: Any) -> bool:
    return bool(callback.save_best_only)


_NAN = ("NaN is the best", "NaN as the first value of the metric is the best for ever", "NaN never counts")

MODEL_CHECKPOINT = (
    Deviation(*_NAN, _saves_best),
    Deviation(
        "truncated file",
        "a kill or a full disk leaves a truncated file, and the old one is gone",
        "the old file stays; after a full disk, training goes on",
    ),
    Deviation("best without a file", "any other error of a save leaves a best that no file has",
               "best is the value before the save", _saves_best),
    Deviation(
        "best by batches",
        "save_best_only with an integer save_freq raises TypeError at the second save",
        "the value is compared",
        lambda callback: _saves_best(callback) and callback.save_freq != "epoch",
    ),
    Deviation("unranked best", "an epoch without the metric replaces the best file",
               "it does not, once there is a best value", _saves_best),
    Deviation(
        "name that is not logged",
        "raises KeyError, which ends the training",
        "it becomes no_NAME in the name of the file",
        lambda callback: bool(fields(callback.filepath) - {"epoch"}),
    ),
)  # fmt: skip

BACKUP = (
    Deviation(
        "epoch begun again",
        "begins the epoch again, with the weights of the last backup",
        "continues at the batch of the last backup",
    ),
    Deviation(
        "folder deleted",
        "delete_checkpoint deletes backup_dir with everything in it",
        "deletes the backups, and the folder if nothing else is in it",
        lambda callback: bool(callback.delete_checkpoint),
    ),
    Deviation(
        "early backup",
        "a backup is made before the callbacks that stand behind it have their turn",
        "it is made after all callbacks",
    ),
    Deviation(
        "no save_freq",
        "save_freq=False backs up at each batch",
        "it backs up when a signal ends the process",
        lambda callback: callback.save_freq is False,
    ),
    Deviation(
        "state at the end",
        "delete_checkpoint=False leaves the last backup",
        "it leaves the state at the end of training",
        lambda callback: not callback.delete_checkpoint,
    ),
    Deviation(
        "second interruption",
        "after it, an integer save_freq begins at epoch 0",
        "it continues at the last backup",
        lambda callback: callback.save_freq not in ("epoch", False),
    ),
)

EARLY_STOPPING = (Deviation(*_NAN),)
