"""Models with the variables of those that people train in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras

from .keras_fit import with_adam

TINY = "two Dense layers, Adam"
# The models whose loss of training time is measured.
BUSY = ("MobileNetV2, Adam", "150 Dense layers, Adam", "60 Dense layers, Adam")


def dense(count: int, width: int) -> keras.Model:
    """Return a chain of dense layers."""
    return keras.Sequential([keras.Input((width,)), *[keras.layers.Dense(width) for _ in range(count)]])


def encoder(layers: int, width: int, words: int) -> keras.Model:
    """Return a transformer's encoder with one output."""
    tokens = keras.Input((8,), dtype="int32")
    value = keras.layers.Embedding(words, width)(tokens)
    for _ in range(layers):
        attended = keras.layers.MultiHeadAttention(width // 64, 64)(value, value)
        value = keras.layers.LayerNormalization()(value + attended)
        inner = keras.layers.Dense(4 * width, "gelu")(value)
        value = keras.layers.LayerNormalization()(value + keras.layers.Dense(width)(inner))
    return keras.Model(tokens, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(value)))


def shared(count: int, width: int, times: int) -> keras.Model:
    """Return a chain of dense layers that passes its output through the same layers several times."""
    layers = [keras.layers.Dense(width) for _ in range(count)]
    value = inputs = keras.Input((width,))
    for _ in range(times):
        for layer in layers:
            value = layer(value)
    return keras.Model(inputs, keras.layers.Dense(1)(value))


def application(name: str) -> keras.Model:
    """Return a model of `keras.applications` for 1,000 classes, and for images so small that a step is cheap."""
    return getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3))


def _made(model: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    return lambda: with_adam(model(), whole=False)


def models(quick: bool) -> Iterator[tuple[str, Callable[[], keras.Model]]]:
    """Yield the name of each model of this backend, and a function that makes it.

    Args:
        quick: Whether to yield only the tiny model.
    """
    yield TINY, _made(lambda: dense(2, 16))
    backend = keras.backend.backend()
    if quick:
        return
    if backend == "torch":
        yield "150 Dense layers, Adam", _made(lambda: dense(150, 64))
    if backend == "jax":
        yield "60 Dense layers, Adam", _made(lambda: dense(60, 64))
    if backend == "tensorflow":
        for name in ("MobileNetV2", "EfficientNetB0", "ResNet50"):
            yield f"{name}, Adam", _made(lambda name=name: application(name))
        yield "encoder of 6 layers, Adam", _made(lambda: encoder(6, 256, 8000))
        yield "40 Dense layers, each used three times, Adam", _made(lambda: shared(40, 128, 3))
