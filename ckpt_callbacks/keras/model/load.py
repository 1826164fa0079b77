"""A loader of checkpoint files into a built model. It runs no code from a file."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ...errors import ResumeError
from ...formats.keras import archive as keras_zip
from ...formats.keras import embedded, own_arrays
from ...formats.keras.suffix import KERAS, LEGACY, WEIGHTS
from ...formats.keras.unsupported import one_line
from ...formats.packed.suffix import native_name
from ..embedded import FitState
from ..model_mismatch import error_for, refuse_other_model
from ..native_file import native_file
from ..saved_optimizers import refuse_other_variables
from .lora import FirstFactors
from .objects import optimizers
from .parts import as_built


def read_embedded(path: Path) -> FitState:
    """Return the data that `KerasCheckpoint` embedded in a file.

    Raises:
        ResumeError: The file holds no such data, or is not a readable Keras file.
    """
    only_weights = ResumeError(
        f"{path}: holds only weights, so a run cannot be resumed from it; expected a checkpoint with "
        "contents='full', or call model.load_weights() and pass resume='never'"
    )
    if native_name(path.name).endswith(WEIGHTS):
        raise only_weights
    try:
        facts = embedded.read(path)
        arrays = own_arrays.read(path, facts.get(keras_zip.PLACES, ())) if facts is not None else []
    except FileNotFoundError:
        raise ResumeError(f"{path}: does not exist; expected the path of a checkpoint") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ResumeError(f"{path}: is not a readable Keras file: {one_line(error)}") from error
    if facts is None:
        raise ResumeError(
            f"{path}: holds no state of a run; expected a file that KerasCheckpoint wrote, or call "
            "model.load_weights() and pass resume='never'"
        )
    if facts.keys() >= {"record"} and "version" not in facts:  # the rest of the file was dropped
        raise only_weights
    try:
        return FitState.from_json(facts, arrays)
    except ResumeError as error:
        raise ResumeError(f"{path}: {error}") from None


def load(
    model: keras.Model,
    path: Path,
    scratch: Path,
    skip: Sequence[Any] = (),
    *,
    compare: bool = True,
) -> None:
    """Load weights and optimizer state into a model.

    Args:
        model: The model.
        path: A full checkpoint.
        scratch: A folder on disk for a temporary copy.
        skip: The optimizers and layers to leave as they are.
        compare: Whether to look first for layers that differ, which takes as long as a save.

    Raises:
        ResumeError: The file was written by a different model or optimizer.
    """
    legacy = path.suffix == LEGACY and model.optimizer is not None and not any(model.optimizer is one for one in skip)
    try:
        # Keras only warns if it leaves out the optimizer's state.
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping variable loading for optimizer")
            with _as_weights(path, scratch) as weights:
                if compare:
                    with as_built(model):
                        refuse_other_model(model, path, weights, scratch, skip)
                state = _legacy_optimizer_state(model, path) if legacy else []
                _load(model, weights, skip)
            for variable, value in zip(model.optimizer.variables if legacy else [], state, strict=True):
                variable.assign(value)
    except (ValueError, KeyError) as error:
        raise error_for(model, path, one_line(error)) from error


def load_weights(model: keras.Model, path: Path, scratch: Path, *, partial: bool = False) -> None:
    """Load only the weights, and leave the optimizer as it is.

    Args:
        model: The model.
        path: A checkpoint.
        scratch: A folder on disk for a temporary copy.
        partial: Whether the checkpoint may lack weights. The model's own stay then.
    """
    with native_file(path, scratch) as native, _as_weights(native, scratch) as weights, warnings.catch_warnings():
        if partial:
            warnings.filterwarnings("ignore", message="(.*could not be loaded|Skipping loading of weights)")
        _load(model, weights, skip=list(optimizers(model).values()), partial=partial)


@contextmanager
def _as_weights(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield ``path``, or a copy of the weights in it, because Keras reads them five times slower inside an archive."""
    if path.suffix != KERAS:
        yield path
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder, keras_zip.WEIGHTS)
        with zipfile.ZipFile(path) as archive, archive.open(keras_zip.WEIGHTS) as member, copy.open("wb") as file:
            shutil.copyfileobj(member, file, 1 << 20)
        yield copy


def _load(model: keras.Model, weights: Path, skip: Sequence[Any], *, partial: bool = False) -> None:
    factors = FirstFactors(model)
    with as_built(model):
        if weights.name.endswith(WEIGHTS):
            keras.saving.load_weights(model, weights, objects_to_skip=list(skip), skip_mismatch=partial)
        else:
            how = {"by_name": True, "skip_mismatch": True} if partial else {}
            model.load_weights(weights, **how)  # the legacy format's reader leaves the optimizer alone
    factors.put_back()


def _legacy_optimizer_state(model: keras.Model, path: Path) -> list[np.ndarray]:
    from keras.src.legacy.saving.legacy_h5_format import load_optimizer_weights_from_hdf5_group

    with h5py.File(path) as file:
        stored = load_optimizer_weights_from_hdf5_group(file) if "optimizer_weights" in file else []
        values = [np.asarray(value) for value in stored]
    refuse_other_variables(model, path, model.optimizer, [value.shape for value in values])
    return values
