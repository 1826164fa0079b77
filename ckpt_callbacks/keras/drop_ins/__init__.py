"""Keras' own callbacks under their names and arguments, with this package's saves and exact resumes."""

from __future__ import annotations

from ..private_names import check_drop_in_names
from .backup_and_restore import BackupAndRestore
from .early_stopping import EarlyStopping
from .model_checkpoint import ModelCheckpoint

check_drop_in_names()

__all__ = ["BackupAndRestore", "EarlyStopping", "ModelCheckpoint"]
