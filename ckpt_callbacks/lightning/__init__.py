"""The Lightning adapter: `LightningCheckpoint`."""

from ..errors import MissingDependency

try:
    import lightning.pytorch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("lightning", "torch"):
        raise
    raise MissingDependency.of(error.name, "lightning") from error

from .callback import LightningCheckpoint

__all__ = ["LightningCheckpoint"]
