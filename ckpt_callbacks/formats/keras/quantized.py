"""A Keras file whose layers have whole numbers as weights, as Keras itself makes and loads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from ...errors import StoreError, first_line
from .suffix import KERAS, WEIGHTS
from .unsupported import shorten

_PROGRAM = f"{__package__}.quantize_model"
_CONFIG, _COMPILED = "config.json", "compile_config"
_TRAINING = "training_config"  # the attribute of a legacy file that says how the model is compiled


def quantize(path: Path, made: Path, dtype: str) -> Mapping[str, tuple[float, float]]:
    """Write the model of one file, with quantized layers, into another one, as Keras saves it.

    Another process builds the model. It uses no accelerator.

    Args:
        path: A file that holds the model, and not only its weights.
        made: The new file. It holds no state of an optimizer, and nothing of this package's.
        dtype: ``"int8"`` or ``"int4"``.

    Returns:
        The largest error of each quantized weight, absolute and relative to its largest value.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: Keras cannot do that with the model.
    """
    if path.name.endswith(WEIGHTS):
        raise StoreError(f"{dtype} needs the model, and a {WEIGHTS} file has only its weights; the file stays as it is")
    done = subprocess.run(
        [sys.executable, "-m", _PROGRAM, path, made, dtype], env=_environment(), cwd=made.parent,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise StoreError(f"Keras cannot quantize it: {shorten(lines[-1])}; the file stays as it is")
    found = json.loads(done.stdout)
    if "refused" in found:
        raise StoreError(f"{shorten(first_line(ValueError(found['refused'])))}; the file stays as it is")
    _keep_compiled(path, made)
    return {name: (error[0], error[1]) for name, error in found["errors"].items()}


def _environment() -> dict[str, str]:
    """Return the environment of the program: the same Keras and packages as here, and no accelerator."""
    keras: Any = sys.modules.get("keras")
    backend = {"KERAS_BACKEND": keras.backend.backend()} if keras is not None else {}
    package = str(Path(__file__).resolve().parents[3])
    places = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    return {**os.environ, **backend, **quiet, "PYTHONPATH": places}


def _keep_compiled(path: Path, made: Path) -> None:
    """Let the new file say how the model is compiled, as the first one does."""
    if path.suffix != KERAS:
        with h5py.File(path) as source, h5py.File(made, "a") as file:
            if _TRAINING in source.attrs:
                file.attrs[_TRAINING] = source.attrs[_TRAINING]
        return
    with zipfile.ZipFile(path) as whole:
        compiled = json.loads(whole.read(_CONFIG)).get(_COMPILED)
    if compiled is None:
        return
    plain = made.with_name(f"plain-{made.name}")
    made.rename(plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(made, "w") as new:
        for entry in whole.infolist():
            if entry.filename == _CONFIG:
                new.writestr(_CONFIG, json.dumps({**json.loads(whole.read(entry)), _COMPILED: compiled}))
                continue
            with whole.open(entry) as member, new.open(entry.filename, "w", force_zip64=True) as copy:
                shutil.copyfileobj(member, copy, 1 << 20)
    plain.unlink()
