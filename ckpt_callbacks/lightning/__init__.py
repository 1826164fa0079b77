"""The Lightning adapter: `LightningCheckpoint`."""

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

if not typing.TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> object:
        raise absent(__name__, name)
