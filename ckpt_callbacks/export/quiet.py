"""Exporters without their hints for those who call them directly."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKATIVE = ("torch.onnx", "torch.export", "torch._export", "absl", "tf2onnx", "tensorflow")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out warnings, and what exporters log below an error. Their exceptions stay.

    The framework must be imported before, because torch sets the levels of its loggers at its import.
    """
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        root.addFilter(_is_error)  # onnxruntime logs to this one; a filter leaves other loggers alone
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_is_error)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
