"""The format of checkpoints that are split into shards, whatever the native format is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...errors import VerifyError
from ...store.aliases import SHARDS
from ...store.digest import digest
from ..format import Format, Shapes
from ..packed.opened import check_whole, native_path
from .header import HEADER, read_header


def sharded_form(native: Format) -> Format:
    """Return the format of folders of shards of a native format.

    Args:
        native: The native format.
    """

    def same(a: Path, b: Path) -> bool:
        with ExitStack() as stack:
            return native.same(*(stack.enter_context(native_path(path)) for path in (a, b)))

    return Format(f"{native.suffix}{SHARDS}", _facts, _check, same)


def _facts(path: Path) -> Mapping[str, Any] | None:
    facts = read_header(path).facts
    return facts if isinstance(facts.get("record"), dict) else None


def _check(path: Path, wanted: Shapes) -> None:
    """Compare all of it with its digests: the native file was looked into before it was split."""
    try:
        header = read_header(path)
        for name, (size, expected) in header.files.items():
            if digest(path / name) != (expected, size):
                raise VerifyError(f"{path / name}: is damaged: its bytes do not match the digest in {HEADER}")
        check_whole(path)
    except OSError as error:
        raise VerifyError(f"{path}: cannot be read: {error.strerror or error}") from error
