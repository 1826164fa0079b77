"""The native file of a checkpoint that Lightning loads, which may be compressed."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..formats.compressed.opened import native_path
from ..formats.compressed.suffix import is_compressed
from ..store.layout import Layout


def native_file(path: Any) -> AbstractContextManager[Any]:
    """Return a context with the path of the native file, which is temporary if the checkpoint is compressed.

    The temporary file is deleted at the end. Tensors that are mapped pages of it stay valid.

    Args:
        path: What Lightning loads: a path, or whatever else a plugin understands.
    """
    if not (isinstance(path, (str, os.PathLike)) and is_compressed(path)):
        return nullcontext(path)
    staging = Layout(Path(path).parent).staging  # /tmp may be too small, or in memory; the next start empties it
    return native_path(path, staging if os.access(staging, os.W_OK) else None)
