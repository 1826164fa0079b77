"""The library that compresses, which is in Python from 3.14 on."""

from __future__ import annotations

import sys
from typing import Any

from ...errors import MissingDependency


def library() -> Any:
    """Return the module.

    Raises:
        MissingDependency: It is not installed.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        try:
            from backports import zstd
        except ImportError:
            raise MissingDependency.of("backports.zstd", "compress") from None
    return zstd
