"""The directory for checkpoints that a trainer's logger, or the trainer itself, provides."""

from __future__ import annotations

from lightning.pytorch import Trainer

from ..store.paths import expanded


def logger_directory(trainer: Trainer) -> str:
    """Return the directory that ModelCheckpoint would take without one of its own. Collective.

    Raises:
        PolicyError: It is a URL.
    """
    logger = next(iter(trainer.loggers), None)
    found = trainer.default_root_dir
    if logger is not None:
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        found = "/".join([str(logger.save_dir or found), str(logger.name), version])
    where = expanded("LightningCheckpoint: dirpath is missing, and the logger's directory", found) / "checkpoints"
    # The logger of another process may have incremented its version.
    return str(trainer.strategy.broadcast(str(where.absolute())))
