"""`BackupAndRestore` of Keras, which resumes exactly, in mid-epoch too."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import weakref
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import keras

from ...config.meaning import Meaning
from ...formats.keras import archive as keras_zip
from ...formats.zip_member import open_member
from ...policy.argument_names import suggests_names
from ...policy.policy import Policy
from ...run.whole_removal import remove_run
from ...store.draft_folder import DraftFolder, remove_left
from ..callback import KerasCheckpoint
from ..earlier_fits import leave
from ..fit_call import running_callbacks
from .arguments import BACKUP
from .policy_of import backup_meaning_of, backup_policy

log = logging.getLogger("ckpt_callbacks")


class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """Back up the state of a training run, and continue exactly from there when the script is started again.

    A resumed run ends with the same weights as one that was never interrupted, also if it was interrupted in
    mid-epoch, and other callbacks get their state back. A backup that Keras' own class has left is taken over.

    Args:
        backup_dir: The folder of the backups.
        save_freq: ``"epoch"``, or the number of batches between two backups. False to back up only when a signal ends
            the process.
        double_checkpoint: Whether to keep the last two backups instead of one.
        delete_checkpoint: Whether to delete the backups, and their folder if nothing else is in it, when training has
            finished.

    Raises:
        ValueError: An argument is invalid.
    """

    @suggests_names(BACKUP)
    def __init__(
        self,
        backup_dir: str | PathLike[str],
        save_freq: Literal["epoch", False] | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__(
            backup_dir=backup_dir, save_freq=save_freq, double_checkpoint=double_checkpoint,
            delete_checkpoint=delete_checkpoint,
        )  # fmt: skip
        self._backup: _Backup | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_backup": None}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        callbacks, self._backup = running_callbacks(self), None  # the last fit may have ended with an exception
        if "://" in str(self.backup_dir):
            log.warning(
                "%s: is not a local folder, so Keras itself writes the backups, and resumes from the epoch; expected a "
                "local path, or KerasCheckpoint with mirrors", self.backup_dir,
            )  # fmt: skip
            callbacks = None
        if callbacks is None:
            super().on_train_begin(logs)
            return
        model = self.model
        backup = _Backup(self)
        if self._has_newer_of_keras(backup):
            super().on_train_begin(logs)
            backup.begin_anew()
        else:
            leave(model)  # a backup counts for more than what the model has trained since
        backup.set_params(self.params)
        backup.set_model(model)
        self._backup = backup
        callbacks.callbacks.append(backup)  # Keras is iterating over this list, and calls its hook as well

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._backup is None:
            super().on_train_end(logs)

    def to_policy(self) -> Policy:
        """Return the policy that the arguments mean, for `KerasCheckpoint`; ``print(....to_yaml())`` shows it."""
        return self.explain().policy

    def explain(self) -> Meaning:
        """Return what the arguments mean: the policy and its settings, notes, and what the drop-in does otherwise."""
        return backup_meaning_of(self)

    def hand_back(self) -> str | None:
        """Write the newest backup in the form of Keras' own class, which then continues from the epoch in it.

        Returns:
            The file of its weights; None if there is no backup.
        """
        backup = KerasCheckpoint(self.backup_dir, backup_policy(self))
        backup._take_over()  # a save of an interrupted fit may still be being written
        if (path := backup.resume_path()) is None:
            return None
        record = backup._run.view.find(Path(path))
        assert record is not None  # it has just been verified
        weights, metadata = (Path(backup.dirpath, name) for name in ("latest.weights.h5", "training_metadata.json"))
        remove_left(weights.parent)
        with DraftFolder(weights) as draft:
            with open_member(Path(path), keras_zip.WEIGHTS) as member, open(draft.path, "wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            times = record.path.stat()
            # It is not newer; see `_has_newer_of_keras`.
            os.utime(draft.path, ns=(times.st_atime_ns, times.st_mtime_ns))
            draft.commit()
        with DraftFolder(metadata) as draft:
            draft.path.write_text(json.dumps({"epoch": record.epoch, "batch": 0}))
            draft.commit()
        return str(weights)

    def _save_model(self) -> None:
        if self._backup is None:
            super()._save_model()

    def _has_newer_of_keras(self, backup: KerasCheckpoint) -> bool:
        """Return whether Keras' own class has made the newest backup."""
        theirs = Path(self._weights_path)
        if not theirs.is_file():
            return False
        last = backup.last()
        if last is not None and last.file == theirs.name:  # it was adopted
            return True
        return last is None or theirs.stat().st_mtime_ns > last.path.stat().st_mtime_ns

    def _finish(self, backup: KerasCheckpoint) -> None:
        """Delete the backups after a `fit` that has finished."""
        self._backup = None
        if not self.delete_checkpoint:
            return
        for path in (
            self._weights_path, self._training_metadata_path, self._prev_weights_path, self._prev_training_metadata_path
        ):  # fmt: skip
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if not remove_run(backup._run.directory.manifest):
            log.warning("%s: stays, because it holds other files; its backups are deleted", backup.dirpath)


class _Backup(KerasCheckpoint):
    """The checkpoints of one `fit`, which follow the callback that the script knows.

    Args:
        owner: That callback.
    """

    def __init__(self, owner: BackupAndRestore) -> None:
        per_batch = owner.save_freq != "epoch" and owner.save_freq is not False
        super().__init__(owner.backup_dir, backup_policy(owner), batch_metrics=per_batch)
        self._owner = weakref.ref(owner)
        self._take_over()  # the last fit may have ended with an exception, while it saved
        self._run.fits.forget()  # each fit continues from its backup, whichever fit of this process it is

    def begin_anew(self) -> None:
        """Train the model as it is."""
        self._resume = "never"

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        owner = self._owner()
        if owner is not None and owner.delete_checkpoint and self._fit is not None and not self._run.should_exit:
            self._fit.close()  # a save of the final state would be deleted at once
        else:
            super().on_train_end(logs)
        if owner is not None:
            owner._finish(self)
