"""The format of compressed checkpoints, whatever the native format is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import StoreError, VerifyError
from ...policy.contents import Contents
from ...store.aliases import COMPRESSED
from ...store.digest import digest
from ..format import Format, Shapes, Written
from ..packed.opened import check_whole, native_path

CODEC = "zstd"  # in records


def compressed_form(native: Format) -> Format:
    """Return the format of compressed files of a native format.

    Args:
        native: The native format.
    """

    def same(a: Path, b: Path) -> bool:
        with ExitStack() as stack:
            return native.same(*(stack.enter_context(native_path(path)) for path in (a, b)))

    def thin(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
        if native.thin is None:
            raise StoreError(f"{path}: is in a format that cannot be rewritten; expected .ckpt, .keras or .h5")
        from .writer import compress  # here, because it needs numpy

        with native_path(path, thinned.parent) as whole:
            smaller = whole.with_name(f"thin-{whole.name}")
            written = native.thin(whole, smaller, record, contents)
            native.check(smaller, written.shapes)
            embedded = {**record, "reduced": written.reduced}
            if written.digest is None or written.size is None:
                found = digest(smaller)
            else:
                found = written.digest, written.size
            inside = compressed(*found)
            if compress(smaller, thinned, {"record": {**embedded, "compressed": inside}}) != found:
                raise VerifyError(f"{path}: what it was reduced to changed while it was compressed")
        return replace(written, digest=None, size=None, compressed=inside)

    return Format(f"{native.suffix}{COMPRESSED}", embedded_facts, _check, same, thin)


def compressed(digest: str, size: int) -> dict[str, Any]:
    """Return what a record says about the native file in a compressed one; see `Record.compressed`."""
    return {"codec": CODEC, "digest": digest, "size": size}


def embedded_facts(path: Path) -> Mapping[str, Any] | None:
    """Return what this package has embedded in the native file, without decompressing it.

    Raises:
        VerifyError: The file is damaged, or cannot be read.
    """
    from .container import read_header  # here, for the same reason

    try:
        with open(path, "rb") as file:
            facts = read_header(file, path)[0].facts
    except OSError as error:
        raise VerifyError(f"{path}: cannot be read: {error.strerror or error}") from error
    return facts if isinstance(facts.get("record"), dict) else None


def _check(path: Path, wanted: Shapes) -> None:
    """Compare all of it with its checksums: the native file was looked into before it was compressed."""
    try:
        check_whole(path)
    except OSError as error:
        raise VerifyError(f"{path}: cannot be read: {error.strerror or error}") from error
