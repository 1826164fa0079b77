"""The Lightning adapter: `LightningCheckpoint`, and drop-ins for the framework's own callbacks.

The drop-ins are imported when they are asked for: LightningCLI knows callbacks by their short names, and a second class
called ModelCheckpoint would make that name ambiguous for all who use only `LightningCheckpoint`.
"""

import importlib
import typing

from ..errors import MissingDependency, absent

try:
    import lightning.pytorch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("lightning", "torch"):
        raise
    raise MissingDependency.of(error.name, "lightning") from error

try:
    from .callback import LightningCheckpoint
except ImportError:  # perhaps an unsupported version lacks a private name
    from .private_names import check_private_names

    check_private_names()
    raise

__all__ = ["LightningCheckpoint"]

_DROP_INS = ("EarlyStopping", "ModelCheckpoint")

if typing.TYPE_CHECKING:
    from .drop_ins import EarlyStopping as EarlyStopping
    from .drop_ins import ModelCheckpoint as ModelCheckpoint
else:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> object:
        if name in _DROP_INS:
            return getattr(importlib.import_module(".drop_ins", __name__), name)
        raise absent(__name__, name)
