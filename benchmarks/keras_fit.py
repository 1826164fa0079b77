"""A real Keras fit with a state of a given size, to measure the saves of one subject."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from .keras_subjects import KerasSubject

LAYERS = 24


class Busy(keras.layers.Layer):
    """A layer that passes its input through after ``work`` products of two 1024 x 1024 matrices."""

    def __init__(self, work: int) -> None:
        super().__init__()
        self.work = work

    def build(self, shape) -> None:
        self.matrix = self.add_weight(shape=(1024, 1024), initializer="identity", trainable=False)

    def call(self, inputs):
        product = keras.ops.convert_to_tensor(self.matrix)
        for _ in range(self.work):
            product = keras.ops.matmul(product, self.matrix)
        return inputs + 1e-30 * keras.ops.sum(product)


def model_of(size: int, work: int = 0) -> keras.Model:
    """Return a model of dense layers with Adam; a third of the bytes of its state are trainable weights.

    With ``work``, only the last layer is trained, so that steps are short for a state of any size. JAX cannot do that.
    """
    width = max(2, round((size / 12 / LAYERS) ** 0.5))
    layers = [keras.layers.Dense(width) for _ in range(LAYERS)]
    model = keras.Sequential([keras.Input((width,)), *([Busy(work)] if work else []), *layers])
    return with_adam(model, whole=not work)


def with_adam(model: keras.Model, *, whole: bool) -> keras.Model:
    """Compile a model with Adam, whose variables exist before the first step, and return it.

    Args:
        model: The model.
        whole: Whether to train all layers, not only the last one. On JAX, all are trained.
    """
    optimizer = keras.optimizers.Adam(1e-6)
    optimizer.build(model.trainable_variables)
    if not whole and keras.backend.backend() != "jax":
        for layer in model.layers[:-1]:
            layer.trainable = False
    model.compile(optimizer, "mse", jit_compile=keras.backend.backend() == "jax")
    return model


class Around(keras.callbacks.Callback):
    """A callback that calls ``begin`` before each training step and ``end`` when the result is available."""

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__()
        self.begin, self.end = begin, end

    def on_train_batch_begin(self, batch: int, logs=None) -> None:
        self.begin()

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        settle(self._model)
        self.end()


def settle(model: keras.Model) -> None:
    """Wait until JAX has computed the current step; on the CPU, the other backends have done so already."""
    if keras.backend.backend() == "jax":
        import jax

        jax.block_until_ready(getattr(model, "_jax_state", None))  # there is none before the first step


def fit(
    subject: KerasSubject,
    state: int | keras.Model,
    steps: int,
    *,
    work: int = 0,
    save: Callable[[Callable[[], object], int], None] | None = None,
    begin: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
    ready: Callable[[], dict] = dict,
) -> None:
    """Train for a number of steps; see `lightning_fit.fit` for the arguments."""
    model = model_of(state, work) if isinstance(state, int) else state
    if subject.callback is not None and save is not None:
        hook = getattr(subject.callback, subject.hook)
        in_next_batch = subject.hook == "on_train_batch_begin"  # it runs after the previous step

        def instead(batch: int, logs=None) -> None:
            settle(model)
            step = batch if in_next_batch else batch + 1
            subject.at(step)
            save(lambda: hook(batch, logs), step)

        setattr(subject.callback, subject.hook, instead)
    x = np.zeros((steps, *model.input_shape[1:]), "float32")
    callbacks = [Around(begin, end), *subject.others, *([subject.callback] if subject.callback else [])]
    y = np.zeros((steps, 1), "float32")
    model.fit(x, y, batch_size=1, epochs=1, verbose=0, shuffle=False, callbacks=callbacks, **ready())
