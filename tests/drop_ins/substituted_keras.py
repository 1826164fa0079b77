"""A plugin of pytest that puts the drop-ins in place of Keras' own callbacks, for Keras' own tests."""

import keras.src.callbacks

from ckpt_callbacks.keras import drop_ins

for name in drop_ins.__all__:
    setattr(keras.src.callbacks, name, getattr(drop_ins, name))


def pytest_configure(config):
    config.addinivalue_line("markers", "requires_trainable_backend: of Keras")
