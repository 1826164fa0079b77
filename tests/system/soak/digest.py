"""One SHA-256 over the whole result of a training run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest(value: Any) -> str:
    """Return the digest of nested dicts and lists of arrays, tensors and plain values."""
    sha = hashlib.sha256()
    _add(sha, value)
    return sha.hexdigest()


def _add(sha: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            sha.update(f"{key}:".encode())
            _add(sha, value[key])
    elif isinstance(value, list | tuple):
        sha.update(f"[{len(value)}]".encode())
        for item in value:
            _add(sha, item)
    elif value is None or isinstance(value, bool | int | float | str):
        sha.update(repr(value).encode())
    else:
        array = np.asarray(value)
        assert array.dtype != object, f"no digest of {type(value).__name__}"
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(array.tobytes())
