"""Files of models, each of which takes its place in one piece, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from ...formats.keras.suffix import WEIGHTS
from ...runtime.worker import BackgroundWorker
from ...store.draft_folder import DraftFolder, can_be_replaced, remove_left
from ..model.save import require_space
from ..staging import KerasStaging, is_of_keras


class ModelFiles:
    """The files that one callback writes, one after the other."""

    def __init__(self) -> None:
        self._staging, self._worker = KerasStaging(), BackgroundWorker()
        self._cleaned: set[Path] = set()
        self._error: Exception | None = None

    def write(
        self, model: keras.Model, path: str, suffix: str, by_keras: Callable[[str], Any], *, in_background: bool
    ) -> None:
        """Write a model's file, in place of the one that is there.

        Args:
            model: The model. On JAX, its variables must be up to date.
            path: The file.
            suffix: Its suffix, which says what it holds.
            by_keras: Has Keras write the file to a path, if the model cannot be copied.
            in_background: Whether to copy the model and return at once; see `error`.

        Raises:
            OSError: The file cannot be written; the old one is untouched.
        """
        self._worker.wait()
        if not is_of_keras(model, "save_weights" if suffix == WEIGHTS else "save"):
            by_keras(path)  # what it writes is unknown
            return
        target = Path(os.path.realpath(path))  # a link stays one
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not can_be_replaced(target):
            by_keras(path)
            return
        if target.parent not in self._cleaned:
            remove_left(target.parent)
            self._cleaned.add(target.parent)
        snapshot = self._staging.copied(model, suffix)
        if snapshot is None:
            require_space(model, target.parent)
            with DraftFolder(target) as draft:
                by_keras(str(draft.path))
                draft.commit()
            return

        def job() -> None:
            try:
                with DraftFolder(target) as draft:
                    snapshot.write(draft.path)
                    draft.commit()
            except Exception as error:
                self._error = error
            finally:
                snapshot.release()

        self._worker.submit(job, here=not in_background)
        if not in_background and (failed := self.error()) is not None:
            raise failed

    def error(self) -> Exception | None:
        """Wait for the last file, and return, once, why it could not be written."""
        self._worker.wait()
        error, self._error = self._error, None
        return error

    def release(self) -> None:
        """Release the memory and the thread. Another file may still be written later."""
        self._worker.close()
        self._staging.release()
