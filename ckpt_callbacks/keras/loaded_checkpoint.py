"""The checkpoint that a script has loaded into its model before it calls `fit`, such as the best one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ..errors import first_line
from ..record import Record
from ..run.view import RunView

log = logging.getLogger("ckpt_callbacks")

_VARIABLES, _ELEMENTS = 50, 64  # this many of each show whether a model is still as it was created


def initial_weights(model: keras.Model) -> Mapping[str, Any]:
    """Return the facts about a start of training that `find_loaded` needs.

    Args:
        model: The model, before anything is trained or loaded.
    """
    return {"weights": _sample(model)} if model.weights else {}


def find_loaded(view: RunView, model: keras.Model) -> Record | None:
    """Return the newest checkpoint whose weights a model has; None if it has none of them.

    A model into which nothing was loaded may also have the weights of a checkpoint, if the first updates of its
    training changed nothing: with mixed precision, or with a learning rate that starts at zero. Therefore, weights with
    which training has started do not count.

    Args:
        view: The checkpoints.
        model: The model.
    """
    records = [record for record in reversed(view.manifest.live()) if record.step]
    starts = [attempt.facts.get("weights") for attempt in view.manifest.attempts]
    if not (records and model.weights and any(starts)) or _sample(model) in starts:
        return None
    return next((record for record in records if _has_weights_of(model, record)), None)


def _has_weights_of(model: keras.Model, record: Record) -> bool:
    try:
        from .model.equal_weights import has_weights_of

        return has_weights_of(model, record.path)
    except Exception as error:  # Keras makes no promise that its walk is stable, and h5py may raise anything
        log.info("%s: not compared with the model's weights: %s", record.path, first_line(error))
        return False


def _sample(model: keras.Model) -> str:
    """Return a digest of some elements of the model's weights."""
    hasher = hashlib.sha256()
    for weight in model.trainable_weights[:_VARIABLES]:
        size = int(np.prod(weight.shape))
        some = keras.ops.reshape(weight.value, (-1,))[:: max(1, size // _ELEMENTS)]
        hasher.update(np.ascontiguousarray(keras.ops.convert_to_numpy(some)).tobytes())
    return hasher.hexdigest()
