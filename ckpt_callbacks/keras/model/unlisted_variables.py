"""Variables that a model holds but Keras does not count among the model's variables, and so never writes.

Examples are the states of a stateful RNN and a `tf.Variable` in a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from .objects import objects, structural

_MOST = 1 << 25  # bytes of all of them together; they are embedded as text


class Uncounted:
    """The uncounted variables of a model, by the attribute names that lead to them.

    Args:
        model: The model.

    Attributes:
        saved: The variables that are saved.
        left_out: The names of the variables that are too large.
    """

    def __init__(self, model: keras.Model) -> None:
        self.saved: dict[str, Any] = {}
        self.left_out: list[str] = []
        found = objects(model)
        counted, size = _counted(model, [one for _, one in found]), 0
        for path, one in found:
            if hasattr(one, "assign") and hasattr(one, "shape") and id(one) not in counted:
                size += int(np.prod(one.shape)) * 8
                if size > _MOST:
                    self.left_out.append(path)
                else:
                    self.saved[path] = one

    @property
    def inexact(self) -> str | None:
        """The reason why a resumed run is not exact; None if all are saved."""
        if not self.left_out:
            return None
        return (
            f"variables that Keras does not count start as the script creates them, because they are too large to save "
            f"here: {', '.join(self.left_out)}; create them with add_weight()"
        )

    def values(self) -> dict[str, np.ndarray]:
        """Return copies of the values of the saved variables."""
        return {path: np.array(keras.ops.convert_to_numpy(one)) for path, one in self.saved.items()}

    def assign(self, wanted: Mapping[str, np.ndarray]) -> list[str]:
        """Assign values, and return the names of the values that match no variable in name and shape."""
        unmatched = []
        for path, value in wanted.items():
            one = self.saved.get(path)
            if one is not None and tuple(one.shape) == value.shape:
                one.assign(value)
            else:
                unmatched.append(path)
        return unmatched


@structural
def uncounted(model: keras.Model) -> Uncounted:
    """Return the uncounted variables of a model."""
    return Uncounted(model)


def _counted(model: keras.Model, found: list[Any]) -> set[int]:
    """Return the identities of the variables that Keras' files hold, or that are saved with the model's state."""
    counted = {id(one) for one in (*model.variables, *model.metrics_variables)}
    tracked = {id(layer) for layer in model._flatten_layers()}
    for one in found:
        if isinstance(one, keras.layers.Layer) and id(one) not in tracked:
            counted.update(map(id, one.weights))  # Keras' files hold them, even if the model does not track the layer
        elif isinstance(one, keras.optimizers.Optimizer | keras.metrics.Metric):
            counted.update(map(id, one.variables))  # a model resets its metrics by itself
    return counted
