"""The Keras adapter: `KerasCheckpoint`."""

import typing

from ..errors import MissingDependency, absent

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("keras", "tensorflow", "torch", "jax"):
        raise
    extra = f"keras-{error.name}" if error.name in ("torch", "jax") else "keras"
    raise MissingDependency.of(error.name, extra) from error

try:
    from .callback import KerasCheckpoint
except ImportError:  # perhaps an unsupported version lacks a private name
    from .private_names import check_private_names

    check_private_names()
    raise

__all__ = ["KerasCheckpoint"]

if not typing.TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> object:
        raise absent(__name__, name)
