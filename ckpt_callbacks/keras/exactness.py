"""Reasons why a resumed run may differ from an uninterrupted one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from ..errors import listed
from .global_generators import script_seed
from .model import lora, unlisted_variables, unsaved_optimizers
from .plain_attributes import PlainAttributes

log = logging.getLogger("ckpt_callbacks")

_GENERATOR = "a generator cannot be rewound; a resumed run draws its batches from a new one that the script creates"
_WORKERS = (
    "a PyDataset with several workers draws its random numbers in no fixed order; a resumed run draws new ones for the "
    "rest of an epoch; expected workers=1 and use_multiprocessing=False"
)
_SHUFFLES = (
    "the tf.data pipeline shuffles, and its position cannot be saved; in a resumed run the data comes in a "
    "different order; expected no shuffle, or a seeded one with reshuffle_each_iteration=False"
)
_UNSEEDED = (
    "TensorFlow shuffles the arrays without a seed; in a resumed run the data comes in a different order; "
    "call keras.utils.set_random_seed() at the beginning of the script"
)
_LOADER = (
    "the DataLoader draws from its own generator, whose state is not saved; in a resumed run the data comes in a "
    "different order; expected torch's global generator"
)
_PART = (
    "with steps_per_epoch, an epoch covers only a part of the data, and a resumed run begins with the first part; "
    "expected epochs that cover all of the data"
)
_CHANGED = (
    "%s: attributes of the %s have changed in training and are not saved, so a resumed run has the script's values "
    "unless a callback sets them again: %s"
)


class Inexactness:
    """What makes the resumed runs of a fit inexact, logged once.

    Args:
        model: The model that is trained.
        of_data: What is known of the data when the fit begins.
    """

    def __init__(self, model: keras.Model, of_data: str | None) -> None:
        self._reasons = (of_data, lora.INEXACT if lora.has_lora(model) else None)
        self._attributes = PlainAttributes(model)
        self._was_reported = False

    def begin(self, model: keras.Model) -> None:
        """Note the model's attributes after the first batch, so that later saves can compare them."""
        self._attributes.begin(model)

    def report(self, dirpath: Path, model: keras.Model) -> None:
        """Log what makes resumes inexact, each reason once. Call it at each full save, with an up-to-date model."""
        if not self._was_reported:
            self._was_reported = True
            later = unlisted_variables.Uncounted(model).inexact, unsaved_optimizers.why_inexact(model)
            if why := "; ".join(filter(None, (*self._reasons, *later))):
                log.warning("%s: a run resumed from here is not exact: %s", dirpath, why)
        if changed := self._attributes.changed_in_optimizers():
            log.warning(_CHANGED, dirpath, "optimizer", listed(changed))
        if changed := self._attributes.changed_in_model(model):
            log.warning(_CHANGED, dirpath, "model", listed(changed))


def what_is_inexact(data: Any, shuffle: Any) -> str | None:
    """Return why a run that resumes from a checkpoint taken now may differ, and how; None if it does not.

    Args:
        data: Keras' iterator over the epochs; None if it is unknown.
        shuffle: The argument of `fit`.
    """
    adapter: Any = getattr(data, "data_adapter", None)
    kind = type(adapter).__name__
    if kind == "GeneratorDataAdapter":
        return _GENERATOR
    if kind == "PyDatasetAdapter" and adapter.enqueuer is not None:
        return _WORKERS
    if kind == "TFDatasetAdapter" and _shuffles(adapter._dataset):
        return _SHUFFLES
    if kind == "ArrayDataAdapter" and shuffle and keras.backend.backend() == "tensorflow" and script_seed() is None:
        return _UNSEEDED
    if kind == "TorchDataLoaderAdapter" and adapter._dataloader.generator is not None:
        return _LOADER
    if adapter is not None and data.steps_per_epoch and data.steps_per_epoch != adapter.num_batches:
        return _PART
    return None


def _shuffles(dataset: Any) -> bool:
    """Return whether a resumed run may see the data of a `tf.data` pipeline in a different order."""
    if not hasattr(dataset, "_inputs"):
        return True  # a distributed dataset, about which nothing is known
    return any(_is_random(stage) for stage in _stages(dataset))


def _is_random(stage: Any) -> bool:
    name = type(stage).__name__
    if "Shuffle" not in name:
        return "Random" in name
    return getattr(stage, "_reshuffle_each_iteration", True) is not False or not (int(stage._seed) or int(stage._seed2))


def _stages(dataset: Any) -> Iterator[Any]:
    yield dataset
    for source in dataset._inputs():
        yield from _stages(source)
