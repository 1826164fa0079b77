"""The number of optimizer updates, computed from batches, because optimizers often count something else."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import keras

from .model.objects import optimizers

log = logging.getLogger("ckpt_callbacks")

_counting_otherwise: weakref.WeakSet[Any] = weakref.WeakSet()  # optimizers that are known not to count batches


class UpdateCounter:
    """The number of optimizer updates done at each batch of the running epoch.

    Each batch counts as one update, or as a part of one if gradients are accumulated. The optimizer's own counter
    cannot replace this count: mixed precision skips updates, SAM makes two for each batch, a GAN has other optimizers,
    a callback may compile the model again, and on TensorFlow, the end of data of unknown length counts as one more
    batch.

    Args:
        model: The model that is trained.
        step: Number of updates that were done before.
        batch: Number of batches of the running epoch that were trained on before.
        trained: Number of batches that were trained on before, in all epochs. None if only ``step`` is known.
    """

    def __init__(self, model: keras.Model, step: int, batch: int = 0, trained: int | None = None) -> None:
        self._per_update = _batches_per_update(model)
        counted = _counted(model)
        if trained is None:
            trained = step * self._per_update + (counted or 0) % self._per_update
        self._before = trained - batch
        self._counter: Any
        self._counted: int | None
        self._counted_at: int
        self._has_warned = counted is None
        self._note(model, counted, batch)

    def at(self, batch: int) -> int:
        """Return the number of updates that are done after ``batch`` batches of the running epoch."""
        return self.trained(batch) // self._per_update

    def trained(self, batch: int) -> int:
        """Return the number of batches trained in all epochs after ``batch`` batches of the running one."""
        return self._before + batch

    def batch_of(self, step: float) -> float:
        """Return the number of batches of the running epoch that are done after ``step`` updates."""
        return step * self._per_update - self._before

    def begin_epoch(self, model: keras.Model, batch: int) -> None:
        """Begin the first batch of an epoch. A callback may have compiled the model with another optimizer."""
        if _counter(model) is not self._counter:
            self._note(model, _counted(model), batch)

    def end_epoch(self, model: keras.Model, batch: int, *, spare: int = 0) -> None:
        """Count from the end of the running epoch. Log once if the optimizer counts something other than batches.

        Args:
            model: The model that is trained.
            batch: The number of batches that the epoch had.
            spare: Number of updates without a batch that the optimizer may have counted at the end of the data.
        """
        counted, trained, is_same = _counted(model), batch - self._counted_at, _counter(model) is self._counter
        if not self._has_warned and is_same and counted is not None and self._counted is not None and trained:
            updates = counted - self._counted
            if not trained <= updates <= trained + spare:
                self._is_measure, self._has_warned = False, True
                _counting_otherwise.add(model.optimizer)
                if not _others_train(model):  # otherwise, nobody expects it to count batches
                    log.warning(
                        "%r: the optimizer counted %d updates in %d batches; steps count batches, with one update for "
                        "%s", model.name, updates, trained,
                        "each" if self._per_update == 1 else f"every {self._per_update}",
                    )  # fmt: skip
        self._before += batch
        if is_same:
            self._counted, self._counted_at = counted, 0
        else:
            self._note(model, counted, 0)

    def ahead(self, model: keras.Model, batch: int) -> int | None:
        """Return how many batches more than ``batch`` the optimizer has counted; None if it does not count batches."""
        counted = _counted(model)
        if counted is None or self._counted is None:
            return 0
        if _counter(model) is not self._counter:
            return None
        if not self._is_measure:
            return 0 if counted == self._counted else None
        return counted - self._counted - (batch - self._counted_at)

    def _note(self, model: keras.Model, counted: int | None, batch: int) -> None:
        """Note the optimizer's counter, its value, and the batch at which it was read."""
        self._counter, self._counted, self._counted_at = _counter(model), counted, batch
        # Whether the optimizer counts batches, as far as is known.
        self._is_measure = counted is not None and _innermost(model.optimizer) is model.optimizer


def updates_done(model: keras.Model) -> int:
    """Return the number of updates that the model's optimizer has counted; 0 if it is known not to count batches.

    There may be more than the run knows of, if the model was also trained elsewhere, or by a fit that an exception
    ended.
    """
    if model.optimizer in _counting_otherwise:
        return 0
    return (_counted(model) or 0) // _batches_per_update(model)


def has_trained(model: keras.Model) -> bool:
    """Return whether the model's optimizer has done an update."""
    return bool(_counted(model))


def _batches_per_update(model: keras.Model) -> int:
    return getattr(_innermost(model.optimizer), "gradient_accumulation_steps", None) or 1


def _counter(model: keras.Model) -> Any:
    # The variable that `iterations` is computed from. If gradients are accumulated, the variable counts batches, and
    # `iterations` counts updates.
    return getattr(_innermost(model.optimizer), "_iterations", None)


def _counted(model: keras.Model) -> int | None:
    variable = _counter(model)
    return None if variable is None else int(keras.ops.convert_to_numpy(variable))


def _innermost(optimizer: object) -> object:
    return getattr(optimizer, "inner_optimizer", optimizer)


def _others_train(model: keras.Model) -> bool:
    """Return whether the model also trains with optimizers that it was not compiled with."""
    own = (model.optimizer, _innermost(model.optimizer))
    return any(int(one.iterations) > 0 for one in optimizers(model).values() if all(one is not o for o in own))
