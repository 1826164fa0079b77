"""The Keras adapter: `KerasCheckpoint`."""

from ..errors import MissingDependency

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("keras", "tensorflow", "torch", "jax"):
        raise
    raise MissingDependency.of(error.name, "keras") from error

from .callback import KerasCheckpoint

__all__ = ["KerasCheckpoint"]
