"""The saving methods that are measured in a Keras fit: this package, its peers, and the limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.keras import KerasCheckpoint

from .keras_copies import first_copy, warm_arrays, warm_copy
from .limits import RawFile
from .subject import LIMIT, PEER, NotInstalled, ReportsItself, Subject


class KerasSubject(Subject):
    """A Keras fit without checkpoints, and the base class of the other subjects.

    Attributes:
        others: Callbacks of the fit besides the subject's own.
    """

    hook = "on_train_batch_end"
    others: Sequence[keras.callbacks.Callback] = ()


# -- this package ----------------------------------------------------------------------------------------------------


class Ours(ReportsItself, KerasSubject):
    name, background = "KerasCheckpoint", True
    hook = "on_train_batch_begin"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self.callback = KerasCheckpoint(folder, Policy(Every(steps=every), KeepLast(1)), background=self.background)


class OursInTheForeground(Ours):
    name, background = "KerasCheckpoint, background=False", False


class OursWithArrays(Ours):
    name = "KerasCheckpoint, EarlyStopping(restore_best_weights=True)"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self.others = (OtherWeights(restore_best_weights=True),)


class OtherWeights(keras.callbacks.EarlyStopping):
    """An `EarlyStopping` whose best weights differ from the current ones, because a past epoch was the best."""

    def on_train_begin(self, logs=None) -> None:
        super().on_train_begin(logs)
        self.best_weights = [weight + 1 for weight in self.model.get_weights()]


# -- peers -----------------------------------------------------------------------------------------------------------


class KerasModelCheckpoint(KerasSubject):
    name, role, fsyncs = "Keras ModelCheckpoint, .keras", PEER, False
    file, weights = "last.keras", False

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        path = str(folder / self.file)
        self.callback = keras.callbacks.ModelCheckpoint(path, save_freq=every, save_weights_only=self.weights)


class KerasModelCheckpointWeights(KerasModelCheckpoint):
    name, file, weights = "Keras ModelCheckpoint, .weights.h5", "last.weights.h5", True


class KerasOrbaxCheckpoint(KerasSubject):
    name, role, fsyncs = "Keras OrbaxCheckpoint", PEER, False

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        try:
            self.callback = keras.callbacks.OrbaxCheckpoint(str(folder), save_freq=every)
        except ImportError as error:
            raise NotInstalled("orbax-checkpoint") from error

        self._waiting = threading.Thread()

    def landed(self) -> bool:
        if not self._waiting.is_alive() and self.callback._async_futures:
            # Its futures have no `done`, so a thread waits for them.
            self._waiting = threading.Thread(target=self.callback._async_futures.pop().result)
            self._waiting.start()
        return not self._waiting.is_alive()


# -- limits ----------------------------------------------------------------------------------------------------------


class Limit(KerasSubject, keras.callbacks.Callback):
    """A callback that is given the variables of the model and of the optimizer."""

    role = LIMIT

    def __init__(self, folder: Path, every: int) -> None:
        keras.callbacks.Callback.__init__(self)
        KerasSubject.__init__(self, folder, every)
        self.callback, self._seen = self, 0

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        self._seen += 1
        if self._seen % self.every == 0:
            self.save([*self.model.variables, *self.model.optimizer.variables])

    def save(self, variables: list) -> None:
        raise NotImplementedError


class WarmCopy(Limit):
    name = "warm copy of as many bytes, nothing written"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def save(self, variables: list) -> None:
        if not self._pairs:
            arrays = [np.ones(v.shape, v.dtype) for v in variables]
            self._pairs = list(zip(warm_arrays(arrays), arrays, strict=True))
        for buffer, array in self._pairs:
            np.copyto(buffer, array)


class CopyOfVariables(Limit):
    """A callback that copies the variables: at its first save into fresh memory, then into warm memory."""

    name = "warm copy of all variables, nothing written"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self._copies: list[np.ndarray] = []
        self._copy: Callable[[], None] | None = None

    def at(self, step: int) -> None:
        super().at(step)
        if self._copies and self._copy is None:
            self._copy = warm_copy(self.model, self._copies)

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        self._seen += 1
        if self._seen % self.every:
            return
        if self._copy is not None:
            self._copy()
        else:
            self._copies = first_copy(self.model)


class RawWrite(Limit):
    name = "raw O_DIRECT write of as many bytes, fsync"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self._file: RawFile | None = None

    def save(self, variables: list) -> None:
        if self._file is None:
            sizes = [int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize for v in variables]
            self._file = RawFile(sum(sizes))
        self._file.write(self.folder / "last.raw")


SUBJECTS = (
    KerasSubject, WarmCopy, RawWrite, Ours, OursWithArrays, OursInTheForeground, KerasModelCheckpoint,
    KerasModelCheckpointWeights, KerasOrbaxCheckpoint,
)  # fmt: skip
# The subjects of longer runs.
MAIN = (KerasSubject, Ours, KerasModelCheckpoint, KerasOrbaxCheckpoint)
# The subjects that save models of many shapes.
MODELS = (CopyOfVariables, Ours, KerasModelCheckpoint)


def extent(model: keras.Model) -> tuple[int, int]:
    """Return the number and the bytes of the variables of a model and its optimizer."""
    variables = [*model.variables, *model.optimizer.variables]
    return len(variables), sum(int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize for v in variables)
