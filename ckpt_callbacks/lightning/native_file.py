"""The native file of a checkpoint that Lightning loads, which may be compressed or split."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..formats.packed.opened import native_path
from ..formats.packed.suffix import is_packed
from ..store.layout import Layout


def native_file(path: Any) -> AbstractContextManager[Any]:
    """Return a context with the path of the native file, which is temporary if the checkpoint is packed.

    The temporary file is deleted at the end. Tensors that are mapped pages of it stay valid.

    Args:
        path: What Lightning loads: a path, or whatever else a plugin understands.
    """
    if not (isinstance(path, (str, os.PathLike)) and is_packed(path)):
        return nullcontext(path)
    staging = Layout(Path(path).parent).staging  # /tmp may be too small, or in memory; the next start empties it
    return native_path(path, staging if os.access(staging, os.W_OK) else None)
