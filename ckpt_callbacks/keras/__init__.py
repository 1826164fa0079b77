"""The Keras adapter: `KerasCheckpoint`."""

from ..errors import MissingDependency

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("keras", "tensorflow", "torch", "jax"):
        raise
    extra = f"keras-{error.name}" if error.name in ("torch", "jax") else "keras"
    raise MissingDependency.of(error.name, extra) from error

from .callback import KerasCheckpoint

__all__ = ["KerasCheckpoint"]
