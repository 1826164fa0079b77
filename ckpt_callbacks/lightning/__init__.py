"""The Lightning adapter: `LightningCheckpoint`."""

from ..errors import MissingDependency

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
