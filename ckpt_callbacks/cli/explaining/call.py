"""One construction of a callback that a script or a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...record import FRAMEWORK_OF

DROP_INS = {
    "lightning": ("ModelCheckpoint", "EarlyStopping"),
    "keras": ("ModelCheckpoint", "BackupAndRestore", "EarlyStopping"),
}
_ROOTS = {
    "lightning": "lightning", "pytorch_lightning": "lightning",
    "keras": "keras", "tensorflow": "keras", "tf_keras": "keras",
}  # fmt: skip
# In a configuration of LightningCLI, a name may stand alone.
_ALONE = {"ModelCheckpoint": "lightning", "EarlyStopping": "lightning", "BackupAndRestore": "keras", **FRAMEWORK_OF}
_MOST = 60  # characters of an expression that are shown


@dataclass(frozen=True)
class Unread:
    """An argument that only the running script knows.

    Args:
        text: The expression.
        as_path: A path in its place, such as ``<args.out>/best.keras``.
    """

    text: str
    as_path: str = ""

    @property
    def shown(self) -> str:
        """The expression on one line, in brackets."""
        line = " ".join(self.text.split())
        return f"<{line if len(line) <= _MOST else line[: _MOST - 3] + '...'}>"


def unknown_part(text: str) -> str:
    """Return what stands for an expression in a path: in brackets, without what paths and templates are made of."""
    return "<...>" if set("{}/\\\n") & set(text) or len(text) > _MOST else f"<{text}>"


def twice(owner: str, name: str) -> str:
    """Return what to say about an argument that a call has twice."""
    return f"{owner}: got {name} twice; expected each argument once"


@dataclass(frozen=True)
class Call:
    """A callback that is constructed.

    Attributes:
        place: The file, and the line or the key.
        room: ``lightning`` or ``keras``.
        name: The name of its class.
        positional: Its arguments by position. Each is a value, or an `Unread`.
        named: Its arguments by name.
        starred: Arguments whose names are not known, such as ``**options``.
        problems: A line for each mistake in a policy among them.
    """

    place: str
    room: str
    name: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    starred: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it is a callback of this package that takes a policy."""
        return self.name in FRAMEWORK_OF


def known_class(path: str) -> tuple[str, str] | None:
    """Return the room and the name of the class that a dotted path means; None if it is no known callback.

    Args:
        path: The path, such as ``lightning.pytorch.callbacks.ModelCheckpoint``; or a name alone.
    """
    first, *between, name = ("", *path.split(".")) if "." not in path else path.split(".")
    if not first:
        return (_ALONE[name], name) if name in _ALONE else None
    room = _ROOTS.get(first)
    if first == "ckpt_callbacks" and between[:1] in (["lightning"], ["keras"]):
        room = between[0]
        return (room, name) if name in DROP_INS[room] or FRAMEWORK_OF.get(name) == room else None
    if room is None or "callbacks" not in between:
        return None
    return (room, name) if name in DROP_INS[room] else None
