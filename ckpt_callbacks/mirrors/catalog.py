"""The catalog of a mirror: which checkpoints it holds, and who writes to it.

Each checkpoint has an entry, an object of its own that is written once its bytes have arrived: from then on it counts.
The catalog repeats all entries in one object, so that a reader needs one request for them, and one more for the entries
that the catalog does not have yet: these have higher numbers. An entry with a number that the catalog should have, and
has not, is about to be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import MirrorError
from ..record import Attempt, Record
from ..store.digest import folder_digest
from ..store.layout import require_inside

FORMAT = 1
_DEFAULTS = {
    f.name: Record.to_json(Record(0, ""))[f.name]
    for f in fields(Record)
    if f.name != "directory" and (f.default is not MISSING or f.default_factory is not MISSING)
}


@dataclass(frozen=True)
class Part:
    """One object with bytes of a checkpoint.

    Attributes:
        key: Its key.
        size: Its size in bytes.
        inside: Its path in the checkpoint's folder; empty for a checkpoint that is a file.
        checksum: Over its bytes, as the store gave it; empty if the store gave none.
    """

    key: str
    size: int
    inside: str = ""
    checksum: str = ""


@dataclass(frozen=True)
class Entry:
    """One checkpoint in a mirror.

    Attributes:
        number: Counts the entries of the mirror, from 1. No number is used twice.
        record: The facts of the checkpoint, as it is in the mirror.
        parts: The objects with its bytes.
        writer: The process that wrote it.
    """

    number: int
    record: Record
    parts: tuple[Part, ...]
    writer: str

    @property
    def is_folder(self) -> bool:
        """Whether the checkpoint is a folder."""
        return any(part.inside for part in self.parts)

    def digest_of(self, parts: Sequence[str]) -> str:
        """Return the digest of the checkpoint, given those of its parts; empty if a part is missing."""
        if self.is_folder:
            return folder_digest((part.inside, part.size, inner) for part, inner in zip(self.parts, parts, strict=True))
        return parts[0] if len(parts) == 1 else ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without the facts that are as usual."""
        facts = self.record.to_json()
        short = {name: value for name, value in facts.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
        parts = [{k: v for k, v in asdict(part).items() if v != ""} for part in self.parts]
        return {"number": self.number, "writer": self.writer, "record": short, "parts": parts}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Entry:
        """Return the entry that `to_json` described."""
        parts = tuple(Part(**{f.name: part[f.name] for f in fields(Part) if f.name in part}) for part in facts["parts"])
        record = Record.from_json(facts["record"])
        require_inside(record.file)  # it may be anybody's object
        return cls(facts["number"], record, parts, facts["writer"])

    def to_bytes(self) -> bytes:
        """Return the object that makes the checkpoint count."""
        return _dumped({"format": FORMAT, **self.to_json()})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Entry:
        """Return the entry in an object. Raises `MirrorError` if it is none, or is of a newer version."""
        facts = _loaded(data, where)
        try:
            return cls.from_json(facts)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MirrorError(f"{where}: is damaged: {error!r}; expected an entry of a mirror") from None


@dataclass(frozen=True)
class Catalog:
    """All entries of a mirror.

    Attributes:
        writer: The process that writes to it now, or did so last.
        host: The machine of that process.
        number: The highest number of an entry so far.
        entries: The entries, in the order of their numbers.
        attempts: The starts of training whose checkpoints it holds, or held.
        highest: The highest id of a record in the run directory.
        framework: Who writes the checkpoints, such as ``lightning``.
    """

    writer: str
    host: str = ""
    number: int = 0
    entries: tuple[Entry, ...] = ()
    attempts: tuple[Attempt, ...] = field(default=())
    highest: int = 0
    framework: str = ""

    @property
    def records(self) -> list[Record]:
        """The records of the entries; the newest entry counts if a checkpoint has several."""
        return list({entry.record.id: entry.record for entry in self.entries}.values())

    @property
    def runs(self) -> set[str]:
        """The runs that have written to it."""
        return {attempt.run for attempt in self.attempts} | {entry.record.run for entry in self.entries}

    def entry_of(self, id_: int) -> Entry | None:
        """Return the entry of a record; None if there is none."""
        return next((entry for entry in reversed(self.entries) if entry.record.id == id_), None)

    def with_entries(self, entries: Iterable[Entry]) -> Catalog:
        """Return it with further entries; one with a number that is there takes that one's place."""
        all_ = {entry.number: entry for entry in (*self.entries, *entries)}
        found = tuple(all_[number] for number in sorted(all_))
        number = max((self.number, *all_))
        return replace(self, entries=found, number=number, highest=max((self.highest, *(e.record.id for e in found))))

    def without(self, numbers: Collection[int]) -> Catalog:
        """Return it without the entries with these numbers."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.number not in numbers))

    def to_bytes(self) -> bytes:
        """Return the object."""
        return _dumped(
            {
                "format": FORMAT, "writer": self.writer, "host": self.host, "number": self.number,
                "highest": self.highest, "framework": self.framework,
                "attempts": [asdict(attempt) for attempt in self.attempts],
                "entries": [entry.to_json() for entry in self.entries],
            }
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Catalog:
        """Return the catalog in an object. Raises `MirrorError` if it is none, or is of a newer version."""
        facts = _loaded(data, where)
        try:
            return cls(
                facts["writer"], facts["host"], facts["number"],
                tuple(Entry.from_json(entry) for entry in facts["entries"]),
                tuple(Attempt.from_json(attempt) for attempt in facts["attempts"]),
                facts["highest"], facts["framework"],
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MirrorError(f"{where}: is damaged: {error!r}; expected the catalog of a mirror") from None


def is_newer(data: bytes) -> bool:
    """Return whether a newer version of this package has written an object."""
    facts = _facts(data)
    return facts is not None and facts["format"] > FORMAT


def _dumped(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, separators=(",", ":")).encode()


def _facts(data: bytes) -> Mapping[str, Any] | None:
    """Return what an object holds; None if no version of this package has written it."""
    try:
        facts = json.loads(data)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("format"), int) else None


def _loaded(data: bytes, where: str) -> Mapping[str, Any]:
    if (facts := _facts(data)) is None:
        raise MirrorError(f"{where}: is damaged, or somebody else's; expected JSON that ckpt_callbacks has written")
    if facts["format"] > FORMAT:
        raise MirrorError(
            f"{where}: has format {facts['format']}; this version reads up to {FORMAT}; install a newer ckpt-callbacks"
        )
    return facts
