"""A builder of the variables that `fit` on TensorFlow creates at its first batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src import backend

from .unbuilt import unbuilt_layers


def build(model: keras.Model, batch_spec: Any) -> Exception | None:
    """Create a model's variables, as far as that is possible without real values. Return the error that prevents it.

    Args:
        model: The model.
        batch_spec: The shapes and types of a batch.
    """
    try:
        if not all(layer.built for layer in model._flatten_layers()):
            _call_in_training(model, batch_spec)
        with _optimizer_left_out(model):
            model._symbolic_build(data_batch=batch_spec)
        if unbuilt_layers(model):
            _validate(model, batch_spec)
    except Exception as error:  # the user's code may need real values, as it gets them in a model that runs eagerly
        return error
    return None


def create_metrics(model: keras.Model, batch: Any) -> None:
    """Create the variables of a model's metrics, by computing them on one batch. Their values are not used.

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
        return  # the model's own train_step may call only its parts


def _call_in_training(model: keras.Model, batch_spec: Any) -> None:
    # `_symbolic_build` leaves out layers that are called only in training, also when it builds the optimizer.
    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch_spec)
    try:
        model(keras.tree.map_structure(_symbolic, x), training=True)
    except Exception:
        return  # the model's own train_step may call only its parts


def _validate(model: keras.Model, batch_spec: Any) -> None:
    # The model's own test_step may call layers that no training step calls.
    try:
        backend.compute_output_spec(model.test_step, keras.tree.map_structure(_symbolic, batch_spec))
    except Exception:
        return  # the validation data may have another structure


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
