"""Uploads that are killed with -9 at random moments, and what their store holds after each of them."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from ckpt_callbacks.mirrors import cleaning
from ckpt_callbacks.mirrors.check import litter
from ckpt_callbacks.mirrors.keys import CHECKPOINTS
from ckpt_callbacks.mirrors.reading import read_catalog
from ckpt_callbacks.mirrors.restoring import download
from ckpt_callbacks.mirrors.survey import survey
from ckpt_callbacks.remote.object_store import ObjectStore
from ckpt_callbacks.remote.url import open_store
from tests.support.forks import forks_of
from tests.support.http_proxy import Request
from tests.support.interrupted import wait_for
from tests.support.processes import ROOT
from tests.system.mirrors.places import Place, proxied

SIZE = 64 << 20
PARTS = {"s3": 5 << 20, "gcs": 1 << 20, "azure": 1 << 20}  # S3 refuses smaller parts
SCRIPT = Path(__file__).with_name("mirror_once.py")
DOCUMENT = ROOT / "docs" / "mirrors.md"
BEGIN, END = "<!-- make kills writes this -->\n", "<!-- up to here -->\n"
NAMES = {"s3": "S3 (SeaweedFS)", "gcs": "GCS (fake-gcs-server)", "azure": "Azure (Azurite)"}
HEAD = (
    "| store | kills | uploads | half-sent checkpoints seen | parts that arrived twice | most per kill "
    "| MB sent again per kill | left over after cleaning | seconds |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass
class Kills:
    """The kills of one store's uploads.

    Attributes:
        store: Its name.
        kills: How many there were.
        uploads: How many uploads were completed.
        partial: A line for each checkpoint that a reader saw although it was not whole.
        twice: The parts that arrived twice, for each kill.
        again: Bytes of parts that were sent again, over all kills.
        left: What was left over after cleaning.
        seconds: How long it took.
    """

    store: str
    kills: int = 0
    uploads: int = 0
    partial: list[str] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    again: int = 0
    left: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """Return its row of the table."""
        figures = [self.kills, self.uploads, len(self.partial), sum(self.twice), max(self.twice, default=0)]
        figures += [f"{self.again / max(1, self.kills) / 1e6:.1f}", len(self.left), round(self.seconds)]
        return f"| {NAMES.get(self.store, self.store)} | {' | '.join(map(str, figures))} |\n"


def part_of(request: Request) -> tuple[str, str] | None:
    """Return the object, and the place in it, of a part that is sent; None for any other request."""
    path, _, query = request.path.partition("?")
    asked = dict(parse_qsl(query))
    if request.method != "PUT":
        return None
    if "partNumber" in asked:
        return path, asked["partNumber"]
    if asked.get("comp") == "block":
        return path, asked["blockid"]
    where = request.headers.get("content-range", "")
    return (asked.get("name", path), where) if where and not where.startswith("bytes */") else None


def counted(requests: list[Request], starts: list[int], size: int) -> tuple[list[int], int]:
    """Return how many parts arrived twice after each kill, and the bytes of parts that were sent again in all.

    Args:
        requests: All requests.
        starts: Where in them each process began; all but the first one follow a kill, or the end of an upload.
        size: Bytes of a part.
    """
    arrived, twice, sent = set[tuple[str, str]](), list[int](), Counter[tuple[str, str]]()
    for begin, end in zip(starts, [*starts[1:], len(requests)], strict=True):
        parts = [(one, part) for one in requests[begin:end] if (part := part_of(one)) is not None]
        whole = {part for one, part in parts if 200 <= one.status < 400}
        twice.append(len(whole & arrived))
        arrived |= whole
        for one, part in parts:
            sent[part] += one.received
    return twice, sum(max(0, count - size) for count in sent.values())


class Child:
    """A process that sends the checkpoints of a run directory."""

    def __init__(self, dirpath: Path, there: Place, *size: int) -> None:
        arguments = (dirpath, there.url, json.dumps(dict(there.options)), PARTS[there.name], *size)
        self._fork = forks_of("tests.system.mirrors.clients").start(SCRIPT, *arguments)
        wait_for(self._fork, "begun")
        self._begin = time.monotonic()

    def complete(self) -> float:
        """Wait until all has arrived, and return the seconds."""
        wait_for(self._fork, "sent")
        seconds = time.monotonic() - self._begin
        assert self._fork.wait() == 0
        return seconds

    def kill(self) -> bool:
        """Kill it with -9; return whether it still ran, and require that it had sent all otherwise."""
        self._fork.kill()
        printed = self._fork.stdout.read()
        was_killed = self._fork.wait() == -signal.SIGKILL
        assert was_killed or "sent" in printed, "the upload failed"
        return was_killed


def kill_uploads(place: Place, folder: Path, kills: int, seed: int) -> Kills:
    """Send checkpoints to a store, and kill the process that does so at random moments.

    Args:
        place: The store, whose server is asked through a proxy that counts.
        folder: For the run directory.
        kills: How often to kill.
        seed: Of the moments.
    """
    found, draw, begun = Kills(place.name), random.Random(f"{seed} {place.name}"), time.monotonic()
    store, checked, starts = open_store(place.url, place.options), set[int](), [0]
    with proxied(place) as proxy:
        there = place.through(proxy.port)
        typical = Child(folder / "run", there, SIZE).complete()
        found.uploads, child = 1, Child(folder / "run", there, SIZE)
        while found.kills < kills:
            time.sleep(draw.uniform(0, typical))
            if child.kill():
                found.kills += 1
                look(store, found, checked, folder)
                starts.append(len(proxy.requests))
                child = Child(folder / "run", there)
            else:
                found.uploads += 1
                child = Child(folder / "run", there, SIZE)
        child.complete()
        found.uploads += 1
        found.twice, found.again = counted(proxy.requests, starts, PARTS[place.name])
    look(store, found, checked, folder)
    clean(store)
    found.left = [f"upload of {one.key}" for one in store.list(unfinished=True)]
    catalog, _ = read_catalog(store)
    assert catalog is not None
    wanted = {part.key for entry in catalog.entries for part in entry.parts}
    found.left += [one.key for one in store.list(CHECKPOINTS) if one.key not in wanted]
    found.seconds = time.monotonic() - begun
    return found


def look(store: ObjectStore, found: Kills, checked: set[int], folder: Path) -> None:
    """Look as any reader does, and require that all that counts is whole; download each entry once."""
    catalog, _ = read_catalog(store)
    for entry in catalog.entries if catalog else ():
        for part in entry.parts:
            there = store.stat(part.key)
            if there is None or there.size != part.size:
                found.partial.append(f"kill {found.kills}: {entry.record.file}: {there}")
        if entry.number not in checked:
            target = folder / f"downloaded-{entry.number}"
            try:
                download(store, entry, target)
            except Exception as error:
                found.partial.append(f"kill {found.kills}: {entry.record.file}: {error}")
            target.unlink(missing_ok=True)
            checked.add(entry.number)


def clean(store: ObjectStore) -> None:
    """Delete what unfinished uploads have left, whatever its age."""
    seen = survey(store)
    cleaning.clean(store, seen, cleaning.old(litter(seen), seen, float("inf")))


def write(all_: Iterable[Kills]) -> None:
    """Replace the table in the document."""
    text = DOCUMENT.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(before + HEAD + "".join(one.line() for one in all_) + after)
