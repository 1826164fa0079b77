"""The epoch that a fit begins with."""

from __future__ import annotations

import logging

import keras

log = logging.getLogger("ckpt_callbacks")


class InitialEpoch:
    """The epoch that a fit begins with. Callbacks may set it in `on_train_begin`; Keras reads it right afterwards.

    Args:
        model: The model that is trained.
        given: The epoch that the script passes to `fit`.
    """

    def __init__(self, model: keras.Model, given: int) -> None:
        self._model, self._given, self._is_set = model, given, False

    @property
    def value(self) -> int:
        """The epoch, by its number in Keras."""
        return self._model._initial_epoch or self._given

    def set(self, epoch: int) -> None:
        """Make the fit begin with an epoch, given by its number in Keras."""
        self._model._initial_epoch, self._is_set = _Epoch(epoch), True

    def resume(self, epoch: int, where: object) -> None:
        """Make the fit begin with the epoch of its checkpoint. Log it if the script wants to begin later.

        Args:
            epoch: The epoch, by its number in Keras.
            where: The run directory.
        """
        self.set(epoch)
        if self._given > epoch:
            log.warning(
                "%s: fit() got initial_epoch=%d, but the run continues at epoch %d, where its checkpoint was taken; to "
                "begin elsewhere, choose another directory, or pass resume='never'", where, self._given, epoch,
            )  # fmt: skip

    def reset(self) -> None:
        """Undo `set`, so that the next fit is not affected. May be called more than once."""
        if self._is_set:
            self._model._initial_epoch, self._is_set = None, False


def is_set_elsewhere(model: keras.Model) -> bool:
    """Return whether a callback other than `KerasCheckpoint` has set the epoch that the fit begins with."""
    return model._initial_epoch is not None and not isinstance(model._initial_epoch, _Epoch)


class _Epoch(int):
    """The number of an epoch. Keras ignores a falsy number, such as 0, if the script has passed another one."""

    def __bool__(self) -> bool:
        return True
