"""Places on the command line: run directories, and mirrors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import MirrorError, PolicyError, StoreError
from ..mirrors.keys import CATALOG, ENTRIES
from ..policy.mirror import Mirror
from ..remote.retried import Retried
from ..remote.url import open_store
from ..store.layout import is_run_dir
from .local_path import LocalPath

if TYPE_CHECKING:
    from ..mirrors.catalog import Catalog
    from ..remote.object_store import ObjectStore

PATIENCE = 30.0  # seconds for which a command tries a request again
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|(rclone|dropbox|gdrive|file):")


class MirrorPlace(click.ParamType):
    """The type of an argument that is a mirror: a URL, or the path of a folder."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Mirror:
        """Return the mirror.

        Raises:
            StoreError: It is neither, or the URL holds a secret.
        """
        try:
            return value if isinstance(value, Mirror) else Mirror(value)
        except PolicyError as error:
            raise StoreError(str(error).removeprefix("Mirror: ")) from None


class AnyPlace(LocalPath):
    """The type of an argument that is a path, or the URL of a mirror."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a `Mirror` for a URL, and for the path of a folder that holds one; otherwise, the path."""
        if isinstance(value, Mirror):
            return value
        if is_url(value):
            return MirrorPlace().convert(value, param, ctx)
        path: Path = super().convert(value, param, ctx)
        return MirrorPlace().convert(path, param, ctx) if is_mirror(path) else path


def is_url(text: str | os.PathLike[str]) -> bool:
    """Return whether a text is a URL, and not the path of something that is here."""
    return _URL.match(os.fspath(text)) is not None and not os.path.lexists(text)


def is_mirror(path: Path) -> bool:
    """Return whether a folder holds a mirror, and is no run directory."""
    return not is_run_dir(path) and ((path / CATALOG).is_file() or (path / ENTRIES).is_dir())


def _options(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, text in enumerate(given, start=1):
        name, equals, value = text.partition("=")
        if not equals or not name:  # it may be a secret, so it is not shown
            raise click.UsageError(f"--storage-option, number {number}: has no name and value; expected KEY=VALUE")
        found[name] = {"true": True, "false": False}.get(value.lower(), value)
    return found


url = click.argument("url", type=MirrorPlace(), metavar="URL")
storage_options = click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_options,
    help="An option for the client of the store, such as endpoint_url=http://127.0.0.1:9000. May be repeated.",
)


def opened(mirror: Mirror, options: Mapping[str, Any]) -> ObjectStore:
    """Return the store of a mirror, which tries each request again for a while.

    Args:
        mirror: The mirror.
        options: What ``--storage-option`` gave, besides its own.
    """
    return patient(bare(mirror, options))


def patient(store: ObjectStore) -> ObjectStore:
    """Return a store that tries each request again for a while."""
    return Retried(store, PATIENCE)


def bare(mirror: Mirror, options: Mapping[str, Any]) -> ObjectStore:
    """Return the same store, whose requests are sent once."""
    with_options = replace(mirror, storage_options={**mirror.storage_options, **options})
    return open_store(with_options.url, with_options.storage_options)


def catalog_of(store: ObjectStore) -> Catalog:
    """Return what a mirror holds.

    Raises:
        MirrorError: It cannot be read, or there is none.
    """
    from ..mirrors.reading import read_catalog

    catalog, _ = read_catalog(store)
    if catalog is None:
        raise MirrorError(f"{store.url}: holds no mirror; expected the place to which a run was sent, with its prefix")
    return catalog
