"""The Keras adapter: `KerasCheckpoint`, and drop-ins for Keras' own callbacks."""

import importlib
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

_DROP_INS = ("BackupAndRestore", "EarlyStopping", "ModelCheckpoint")

if typing.TYPE_CHECKING:
    from .drop_ins import BackupAndRestore as BackupAndRestore
    from .drop_ins import EarlyStopping as EarlyStopping
    from .drop_ins import ModelCheckpoint as ModelCheckpoint

if not typing.TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> object:
        # Only when it is asked for, because a second class named as one of Keras' confuses whoever lists them.
        if name in _DROP_INS:
            return getattr(importlib.import_module(".drop_ins", __name__), name)
        raise absent(__name__, name)
