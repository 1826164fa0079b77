"""The URL of a place elsewhere, and the store that it names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, cast

from ..errors import MirrorError, MissingDependency
from .object_store import ObjectStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?|([a-z]+):")
# The module and the class of each scheme, and the extra that installs its engine.
_STORES = {
    "s3": ("s3_store", "S3Store", "s3"),
    "gs": ("gcs_store", "GcsStore", "gcs"),
    "az": ("azure_store", "AzureStore", "azure"),
    "hf": ("hub_store", "HubStore", "hub"),
    "rclone": ("server_store", "ServerStore", "rclone"),
    "dropbox": ("server_store", "ServerStore", "rclone"),
    "gdrive": ("server_store", "ServerStore", "rclone"),
    "sftp": ("server_store", "ServerStore", "sftp"),
    "webdav": ("server_store", "ServerStore", "webdav"),
    "webdavs": ("server_store", "ServerStore", "webdav"),
    "file": ("folder_store", "FolderStore", ""),
}
_OTHER = ("server_store", "ServerStore", "fsspec")  # whatever else fsspec knows
_OTHER_NAMES = {"gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "s3a": "s3", "ssh": "sftp", "https": "webdavs"}


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, such as ``s3``; ``file`` for a path of this machine."""
    found = _SCHEME.match(url)
    return (found.group(1) or found.group(2)).lower() if found else "file"


def is_remote(text: str) -> bool:
    """Return whether a text is the URL of a store that is no folder of this machine."""
    return scheme_of(text) in _STORES and scheme_of(text) != "file"


def open_store(url: str, options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Return the store that a URL names. It connects at its first use.

    Args:
        url: Such as ``s3://bucket/runs/a``, or the path of a folder.
        options: `storage_options` for the store's engine.

    Raises:
        MissingDependency: The engine is not installed; the message names the extra.
        MirrorError: There is no such kind of store, or the URL lacks a part.
    """
    scheme = scheme_of(url)
    module, name, extra = _STORES.get(scheme) or _OTHER
    if scheme not in _STORES and not _fsspec_knows(scheme):
        meant = f"; did you mean {_OTHER_NAMES[scheme]}://?" if scheme in _OTHER_NAMES else ""
        raise MirrorError(f"{scheme}:// is not a kind of mirror; expected one of {', '.join(_STORES)}{meant}")
    try:
        kind = getattr(importlib.import_module(f".{module}", __package__), name)
        return cast(ObjectStore, kind(url, dict(options or {})))
    except ModuleNotFoundError as error:
        raise MissingDependency.of(error.name or module, extra) from None


def _fsspec_knows(scheme: str) -> bool:
    if scheme in _OTHER_NAMES:
        return False
    try:
        from .fsspec_files import is_known
    except ModuleNotFoundError:
        return False
    return is_known(scheme)
