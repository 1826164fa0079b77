"""Vocabularies of layers, and other files that layers save in addition to their variables."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import keras
from keras.src.saving import saving_lib

from ...errors import ResumeError
from ...formats.keras.suffix import KERAS
from ...formats.keras.unsupported import one_line
from .config_json import MEMBER
from .no_weights import NoWeights

log = logging.getLogger("ckpt_callbacks")

_FOLDER = "assets/"


def load_assets(model: keras.Model, path: Path) -> None:
    """Load the files of layers from a checkpoint if they differ from those of the model, and log it.

    Args:
        model: The model.
        path: The checkpoint. A legacy ``.h5`` file holds no such files.

    Raises:
        ResumeError: The layers cannot load them.
    """
    if path.suffix != KERAS:
        return
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        members = [name for name in archive.namelist() if name.startswith(_FOLDER) and not name.endswith("/")]
        if not members:
            return
        archive.extractall(folder, members)
        saved = Path(folder, _FOLDER)
        different = _different(_contents(saved), _own(model))
        if not different:
            return
        try:
            _load(model, saved)
        except Exception as error:  # the layers' own code
            raise ResumeError(
                f"{path}: {', '.join(different)} differ from what the script's layers hold, and cannot be loaded: "
                f"{one_line(error)}; expected the same model and data, or pass resume='never'"
            ) from error
    for kind in ("train", "test", "predict"):  # functions that were traced before keep the old tables
        if getattr(model, f"{kind}_function") is not None:
            getattr(model, f"make_{kind}_function")(force=True)
    log.warning(
        "%s: %s differ from what the script's layers have learned; those of the checkpoint are used, because its "
        "weights belong to them; to train with the new ones, pass resume='never'", path, ", ".join(different),
    )  # fmt: skip


def refuse_other_vocabulary(model: keras.Model, path: Path) -> None:
    """Raise `ResumeError` if the script has given a layer a vocabulary other than the checkpoint's.

    A vocabulary that is an argument of a layer is a part of the configuration, which only the script can change.

    Args:
        model: The model.
        path: The checkpoint.
    """
    if path.suffix != KERAS:
        return
    with zipfile.ZipFile(path) as archive:
        text = archive.read(MEMBER)
    if b'"vocabulary": [' not in text:
        return
    try:
        own = list(_vocabularies(json.loads(json.dumps(keras.saving.serialize_keras_object(model)))))
    except Exception:  # the model has no configuration; the save reports that
        return
    saved = list(_vocabularies(json.loads(text)))
    for (name, mine), (_, wanted) in zip(own, saved, strict=False):
        if mine == wanted:
            continue
        number, (a, b) = next(
            (n, pair) for n, pair in enumerate(zip_longest(mine, wanted)) if pair[0] != pair[1]
        )  # fmt: skip
        raise ResumeError(
            f"{path}: the vocabulary of layer {name!r} differs from the checkpoint's: word {number} is {a!r} instead "
            f"of {b!r}; expected the same words in the same order (a set has a different order in each process), or "
            "pass resume='never'"
        )


def _vocabularies(config: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the name and the vocabulary of each layer that has one in its configuration."""
    if isinstance(config, dict):
        if isinstance(words := config.get("vocabulary"), list):
            yield str(config.get("name")), words
        for value in config.values():
            yield from _vocabularies(value)
    elif isinstance(config, list):
        for value in config:
            yield from _vocabularies(value)


def _load(model: keras.Model, folder: Path) -> None:
    """Load the layers' files. Raises whatever a layer raises."""
    store, problems = saving_lib.DiskIOStore(str(folder), mode="r"), dict[int, tuple[Any, Exception]]()
    # Keras 3.12 fails without the set of failed objects.
    saving_lib._load_state(model, NoWeights(), store, "", failed_saveables=set(), error_msgs=problems)
    for _, error in problems.values():
        raise error


def _own(model: keras.Model) -> dict[str, bytes]:
    """Return the files that the model's layers would save now."""
    store = saving_lib.DiskIOStore(_FOLDER, mode="w")
    try:
        saving_lib._save_state(model, NoWeights(), store, "", set())
        return _contents(Path(store.working_dir))
    finally:
        store.close()


def _contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _different(saved: dict[str, bytes], own: dict[str, bytes]) -> list[str]:
    return sorted(name for name in saved.keys() | own.keys() if saved.get(name) != own.get(name))
