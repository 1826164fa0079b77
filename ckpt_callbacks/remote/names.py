"""The names of objects in places that have folders, and of files that are not objects yet."""

from __future__ import annotations

import re
import uuid

from ..errors import MirrorError

_STAGED = re.compile(r"\.(?P<name>.+)\.(?P<upload>[0-9a-f]{32})\.ckpt-part")


def check_key(url: str, key: str) -> list[str]:
    """Return the names that a key consists of.

    Args:
        url: Of the store, for the message.
        key: The key.

    Raises:
        MirrorError: The key leads out of the store, or its object would be hidden.
    """
    names = key.split("/")
    if any(not name or name.startswith(".") or not name.isprintable() for name in names):
        raise MirrorError(
            f"{url}: {key!r} cannot be the name of an object; expected printable names that begin with no dot"
        )
    return names


def staged_key(key: str, upload: str = "") -> tuple[str, str]:
    """Return the key of the hidden file that becomes an object when it is whole, and the name of its upload.

    Args:
        key: Of the object.
        upload: The name of an earlier upload; a new one by default.
    """
    upload = upload or uuid.uuid4().hex
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}.{name}.{upload}.ckpt-part", upload


def object_and_upload(name: str) -> tuple[str, str] | None:
    """Return the name of the object that a file becomes, and of its upload; an empty one for an object.

    Returns None for a file of somebody else: a hidden one, or one with a name that cannot be printed.
    """
    found = _STAGED.fullmatch(name)
    if not name.isprintable() or (name.startswith(".") and not found):
        return None
    return (found["name"], found["upload"]) if found else (name, "")
