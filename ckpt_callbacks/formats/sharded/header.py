"""The file in a folder of shards that says what the native file was, and where its bytes are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from ...errors import Unreadable, VerifyError
from ...store.digest import named
from .pieces import Piece

HEADER, REST = "ckpt_callbacks.json", "ckpt_callbacks-{:05}.bin"
VERSION = 1


@dataclass(frozen=True)
class FolderHeader:
    """What the file says.

    Attributes:
        digest: The digest of the native file, as in records.
        size: Its size in bytes.
        facts: What this package has embedded in it.
        files: The size and the digest of each other file of the folder, by its name.
        pieces: All bytes of the native file, in order.
    """

    digest: str
    size: int
    facts: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]]
    pieces: Sequence[Piece]

    def to_bytes(self) -> bytes:
        """Return the file."""
        content = {
            "version": VERSION,
            "digest": self.digest,
            "size": self.size,
            "facts": self.facts,
            "files": {name: list(facts) for name, facts in self.files.items()},
            "pieces": [piece.to_json() for piece in self.pieces],
        }
        return json.dumps({"checksum": _checksum(content), "content": content}).encode()


def read_header(folder: Path) -> FolderHeader:
    """Return what a folder of shards says about itself.

    Raises:
        VerifyError: It is damaged, or was written by a newer version.
    """
    path = folder / HEADER
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise VerifyError(f"{folder}: lacks {HEADER}; expected a folder of shards") from None
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        found = json.loads(data)
        content = found["content"]
        if found["checksum"] != _checksum(content):
            raise ValueError
        if content["version"] > VERSION:
            raise VerifyError(
                f"{folder}: is split in version {content['version']} of the format; expected at most {VERSION}; "
                "install a newer ckpt-callbacks"
            )
        files = {name: (size, digest) for name, (size, digest) in content["files"].items()}
        pieces = [Piece.from_json(piece) for piece in content["pieces"]]
        return FolderHeader(content["digest"], content["size"], content["facts"], files, pieces)
    except (ValueError, KeyError, TypeError, IndexError):
        raise VerifyError(f"{path}: is damaged: it does not match its checksum") from None


def _checksum(content: Any) -> str:
    return named(xxhash.xxh3_128(json.dumps(content, sort_keys=True).encode()))
