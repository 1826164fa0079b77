"""`EarlyStopping` of Keras, for which NaN is never the best."""

from __future__ import annotations

from typing import Any

import keras

from ...config.meaning import Meaning
from ...policy.argument_names import suggests_names
from ...policy.policy import Policy
from ...policy.text_for_number import refuse_text
from .arguments import EARLY_STOPPING
from .improvement import is_nan, say_direction
from .policy_of import stop_meaning_of


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Stop training when a metric has stopped improving, exactly as Keras' own class does.

    Beside `KerasCheckpoint` or `BackupAndRestore`, a resumed run continues with its patience, its best value and its
    best weights, as it does with Keras' own class. NaN never counts as an improvement.

    Args:
        monitor: Name of a logged value.
        min_delta: The smallest change that counts as an improvement.
        patience: Number of epochs without improvement after which training stops.
        verbose: 1 to print a line when training stops.
        mode: ``"min"``, ``"max"``, or ``"auto"`` to let Keras decide by the metric.
        baseline: The value that must be improved on for the patience to begin anew.
        restore_best_weights: Whether the model gets the weights of its best epoch when training ends.
        start_from_epoch: Number of epochs before the first that counts.

    Raises:
        TypeError: A number is text.
        ValueError: Keras cannot tell which values of the metric are better.
    """

    @suggests_names(EARLY_STOPPING)
    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        numbers = {
            "min_delta": min_delta,
            "patience": patience,
            "baseline": baseline,
            "start_from_epoch": start_from_epoch,
        }
        refuse_text("EarlyStopping", numbers)
        super().__init__(
            monitor=monitor, min_delta=min_delta, patience=patience, verbose=verbose, mode=mode, baseline=baseline,
            restore_best_weights=restore_best_weights, start_from_epoch=start_from_epoch,
        )  # fmt: skip

    def to_policy(self) -> Policy:
        """Return the policy that the arguments mean, for `KerasCheckpoint`; ``print(....to_yaml())`` shows it.

        Its ``stop`` is what this callback does. The policy also saves at the end of each epoch, and keeps the newest
        checkpoint, and the best one with ``restore_best_weights``.

        Raises:
            PolicyError: With ``mode="auto"``, the direction of the metric is not known before `fit`.
        """
        return self.explain().policy

    def explain(self) -> Meaning:
        """Return what the arguments mean: the policy and its settings, notes, and what the drop-in does otherwise.

        Raises:
            PolicyError: As for `to_policy`.
        """
        return stop_meaning_of(self)

    def _set_monitor_op(self) -> None:
        super()._set_monitor_op()
        say_direction(self)

    def _is_improvement(self, monitor_value: Any, reference_value: Any) -> Any:
        return not is_nan(monitor_value) and super()._is_improvement(monitor_value, reference_value)
