"""The present values of a model's variables, which JAX holds elsewhere while `fit` or an evaluation runs."""

from __future__ import annotations

import keras


def update_variables(model: keras.Model) -> None:
    """Bring the variables of a model on JAX up to date; on other backends, they always are."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
