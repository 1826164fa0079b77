"""Keras' own files: ``.keras``, ``.weights.h5`` and the legacy ``.h5``. Where ours lies in them: see `formats`."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
import textwrap
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ...errors import PolicyError, ResumeError, StoreError
from ...formats import Shapes
from ...formats.keras import archive as keras_zip
from ...formats.keras import hdf5
from ...formats.zip_member import opened
from ...store.space import require
from ..embedded import Carried
from ..mismatch import differences
from . import config_json as configuration
from .lora import FirstFactors

KERAS, WEIGHTS, LEGACY = ".keras", ".weights.h5", ".h5"
_PER_VARIABLE = 8192  # bytes that HDF5 needs for itself, and more


def suffix_of(contents: str, format: str | None) -> str:
    """The suffix of the files to write.

    Raises:
        PolicyError: there is no such format, or not with these contents.
    """
    if format not in (None, "keras", "h5"):
        raise PolicyError(f"KerasCheckpoint: format is {format!r}; expected 'keras' or 'h5', or None for the usual one")
    if contents == "weights":
        if format == "keras":
            raise PolicyError("KerasCheckpoint: contents='weights' is written as .weights.h5; leave format out")
        return WEIGHTS
    return LEGACY if format == "h5" else KERAS


def save(model: keras.Model, path: Path, carried: Carried, *, with_config: bool = True) -> Shapes:
    """Write the model to ``path``; its suffix says how. Returns the tensors that must be found in it.

    Args:
        model, path, carried: What is written, and where. with_config: Keras can write the model's configuration.

    Raises:
        OSError: the disk is full. StoreError: Keras cannot write this model.
    """
    variables = [*model.weights, *(v for optimizer in optimizers(model) for v in optimizer.variables)]
    check_space([math.prod(v.shape) * _bits(v.dtype) // 8 for v in variables], path.parent)
    with saying_what_cannot_be_saved(model.name), as_built(model):
        if path.name.endswith(WEIGHTS):
            keras.saving.save_weights(model, path, objects_to_skip=optimizers(model))
        elif with_config:
            model.save(path)
        else:
            _archive_weights(model, path)
    if path.suffix == KERAS:
        keras_zip.write(path, ours(path.name, carried))
    else:
        hdf5.write(path, json.dumps(ours(path.name, carried)))
    return shapes(model)


def _archive_weights(model: keras.Model, path: Path) -> None:
    """A ``.keras`` without the model's configuration, and without files that layers save beside their variables."""
    config, metadata = configuration.stand_in(model)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, zipfile.ZipFile(path, "w") as archive:
        weights = Path(folder, keras_zip.WEIGHTS)
        keras.saving.save_weights(model, weights)
        archive.writestr(keras_zip.METADATA, metadata)
        archive.writestr(configuration.MEMBER, config)
        archive.write(weights, keras_zip.WEIGHTS)


@contextmanager
def as_built(model: keras.Model) -> Iterator[None]:
    """Keras saves and loads nothing of a model that is never called as a whole, as a GAN is: it counts as not built."""
    if model.built or not model.weights:
        yield
        return
    model.built = True
    try:
        yield
    finally:
        model.built = False


def ours(name: str, carried: Carried) -> dict[str, Any]:
    """What goes into a file with such an end of its name: beside weights alone, nothing that a run could go on from."""
    return {"record": carried.record} if name.endswith(WEIGHTS) else carried.to_json()


def shapes(model: keras.Model) -> Shapes:
    """The tensors that must be found in a file of the model."""
    return [(weight.path, tuple(weight.shape)) for weight in model.weights]


@contextmanager
def saying_what_cannot_be_saved(name: str) -> Iterator[None]:
    """Turn Keras' ways of refusing a model into a StoreError."""
    try:
        yield
    except (NotImplementedError, TypeError, ValueError) as error:
        raise StoreError(f"Keras cannot save {name!r}: {one_line(error)}") from error


def read_carried(path: Path) -> Carried:
    """What of ours lies in the file.

    Raises:
        ResumeError: nothing does, or it is no such file.
    """
    if path.name.endswith(WEIGHTS):
        raise ResumeError(
            f"{path}: holds weights alone, and a run cannot be resumed from it; expected a checkpoint with "
            "contents='full', or call model.load_weights() and pass resume='never'"
        )
    facts = None
    try:
        if path.suffix == KERAS:
            facts = keras_zip.read(path)
        else:
            with h5py.File(path) as file:
                facts = hdf5.read(file)
    except FileNotFoundError:
        raise ResumeError(f"{path}: does not exist; expected the path of a checkpoint") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ResumeError(f"{path}: is no Keras file that can be read: {one_line(error)}") from error
    if facts is None:
        raise ResumeError(
            f"{path}: holds no state of a run; expected a file that KerasCheckpoint wrote, or call "
            "model.load_weights() and pass resume='never'"
        )
    try:
        return Carried.from_json(facts)
    except ResumeError as error:
        raise ResumeError(f"{path}: {error}") from None


def load(model: keras.Model, path: Path, scratch: Path, *, with_optimizer: bool = True) -> None:
    """Load weights and optimizer state into a model that is built. No code of the file runs.

    Args:
        model: The model. path: a full checkpoint. scratch: a folder on disk for a temporary copy.
        with_optimizer: The file holds the state of the model's optimizer (not the case before its first update).

    Raises:
        ResumeError: the file was written by another model or optimizer.
    """
    try:
        # Keras only warns when it leaves the optimizer's state out.
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping variable loading for optimizer")
            with _as_weights(path, scratch) as weights:
                with as_built(model):
                    problem = differences(model, weights, scratch)
                if problem is not None:
                    raise ValueError(problem)
                _load(model, weights, skip=[] if with_optimizer else [model.optimizer])
            if path.suffix == LEGACY and with_optimizer:
                _load_legacy_optimizer(model, path)
    except (ValueError, KeyError) as error:
        raise ResumeError(
            f"{path}: does not fit {model.name!r}: {one_line(error)}; expected the model and the optimizer that wrote "
            "it; choose another directory, or pass resume='never'"
        ) from error


def load_weights(model: keras.Model, path: Path, scratch: Path) -> None:
    """Load the weights alone; the optimizer stays as it is."""
    with _as_weights(path, scratch) as weights:
        _load(model, weights, skip=optimizers(model))


def same_weights(a: Path, b: Path) -> bool:
    """The two files hold equal weights, whatever else differs."""
    if a.suffix != b.suffix:
        return False
    if a.suffix == KERAS:
        with zipfile.ZipFile(a) as first, zipfile.ZipFile(b) as second:
            members = [archive.getinfo(keras_zip.WEIGHTS) for archive in (first, second)]
            if members[0].CRC == members[1].CRC and members[0].file_size == members[1].file_size:
                return True
        with opened(a, keras_zip.WEIGHTS) as x, opened(b, keras_zip.WEIGHTS) as y, h5py.File(x) as f, h5py.File(y) as g:
            return _same_datasets(f, g)
    with h5py.File(a) as f, h5py.File(b) as g:
        return _same_datasets(f, g)


def _same_datasets(f: h5py.Group, g: h5py.Group) -> bool:
    names = _datasets(f)
    return names == _datasets(g) and all(
        f[name].dtype == g[name].dtype and np.array_equal(f[name][()], g[name][()]) for name in names
    )


def _datasets(file: h5py.Group) -> list[str]:
    return [name for name, _ in hdf5.tensors(file) if not name.startswith(("optimizer/", "optimizer_weights/"))]


@contextmanager
def _as_weights(path: Path, scratch: Path) -> Iterator[Path]:
    """``path``, or a copy of the weights in it: inside an archive Keras reads them five times slower."""
    if path.suffix != KERAS:
        yield path
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder, keras_zip.WEIGHTS)
        with zipfile.ZipFile(path) as archive, archive.open(keras_zip.WEIGHTS) as member, copy.open("wb") as file:
            shutil.copyfileobj(member, file, 1 << 20)
        yield copy


def _load(model: keras.Model, weights: Path, skip: list[Any]) -> None:
    factors = FirstFactors(model)
    with as_built(model):
        if weights.name.endswith(WEIGHTS):
            keras.saving.load_weights(model, weights, objects_to_skip=skip)
        else:
            model.load_weights(weights)  # the legacy format's reader leaves the optimizer alone
    factors.put_back()


def _load_legacy_optimizer(model: keras.Model, path: Path) -> None:
    from keras.src.legacy.saving.legacy_h5_format import load_optimizer_weights_from_hdf5_group

    with h5py.File(path) as file:
        stored = load_optimizer_weights_from_hdf5_group(file) if "optimizer_weights" in file else []
        values = [np.asarray(value) for value in stored]
    variables = model.optimizer.variables
    if [tuple(v.shape) for v in variables] != [value.shape for value in values]:
        raise ValueError(f"the optimizer has {len(variables)} variables, and the file has {len(values)} for it")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The model's optimizers, which are no part of its weights."""
    return [value for value in vars(model).values() if isinstance(value, keras.optimizers.Optimizer)]


def check_space(sizes: Iterable[int], folder: Path) -> None:
    """Ask for the space of variables of these sizes in bytes.

    A disk that is full can end in a segmentation fault inside HDF5, which nothing could catch.

    Raises:
        OSError: the disk has less.
    """
    require(folder, sum(size + _PER_VARIABLE for size in sizes))


def _bits(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)
    return int(digits.group()) if digits else 8


def one_line(error: Exception) -> str:
    """The part of one of Keras' long messages that says what is wrong."""
    parts = [part for part in re.split(r"\n\s*\n", str(error)) if part.strip()] or [type(error).__name__]
    if len(parts) > 1 and parts[0].endswith(":"):  # "... could not be loaded. Example error message for object ...:"
        del parts[0]
    return textwrap.shorten(parts[0], 240, placeholder=" ...").rstrip(".")
