"""A builder of the variables that `fit` on TensorFlow creates at its first batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def build(model: keras.Model, batch_spec: Any) -> Exception | None:
    """Create a model's variables, as far as that is possible without real values. Return what prevented it.

    Args:
        model: The model.
        batch_spec: The shapes and types of a batch.
    """
    try:
        if not all(layer.built for layer in model._flatten_layers()):
            _call_in_training(model, batch_spec)
        with _optimizer_left_out(model):
            model._symbolic_build(data_batch=batch_spec)
    except Exception as error:  # the user's code may need real values, as it gets them in a model that runs eagerly
        return error
    return None


def create_metrics(model: keras.Model, batch: Any) -> None:
    """Create the variables of a model's metrics as far as a batch allows it. Their values do not matter afterwards.

    Args:
        model: The model.
        batch: A batch of the training data.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    try:
        y_pred = model(x, training=False)
        model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    except Exception:
        return  # a train step of the model's own may call its parts alone


def _call_in_training(model: keras.Model, batch_spec: Any) -> None:
    # `_symbolic_build` builds no layer that is called in training alone, and an optimizer without that layer's weights.
    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch_spec)
    try:
        model(keras.tree.map_structure(_symbolic, x), training=True)
    except Exception:
        return  # a train step of the model's own may call its parts alone


def _symbolic(spec: Any) -> Any:
    return None if spec is None else keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))


@contextmanager
def _optimizer_left_out(model: keras.Model) -> Iterator[None]:
    """Keep Keras from building the optimizer for all weights, because `train_step` may give it only some of them."""
    optimizer = model.optimizer
    if optimizer is None or optimizer.built:
        yield
        return
    optimizer.built = True
    try:
        yield
    finally:
        optimizer.built = False
