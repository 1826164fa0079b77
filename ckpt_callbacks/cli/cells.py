"""The format in which `ckpt` prints single facts: sizes, dates, statuses and numbers."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Literal

from ..record import Record, Status
from ..store.condition import condition


def count(n: int, noun: str) -> str:
    """Return ``1 checkpoint`` or ``2 checkpoints``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def status(record: Record, *, missing: bool) -> str:
    """Return the status of a record, and anything special about it."""
    marks = (
        ("superseded", record.superseded),
        ("exceptional", record.exceptional),
        ("not finite", not record.finite),
    )
    return ", ".join(("missing" if missing else condition(record), *(mark for mark, holds in marks if holds)))


def short_status(record: Record, *, missing: bool) -> str:
    """Return the status of a record in as few words as possible: what is special about it, if anything is."""
    words = status(record, missing=missing).replace("not finite", "NaN").split(", ")
    return ",".join(words[1:] if words[0] == Status.VERIFIED.value and words[1:] else words)


def known(record: Record, name: Literal["step", "epoch"]) -> str:
    """Return the ``step`` or the ``epoch`` of a record; empty if it is not known."""
    found = record.known(name)
    return "" if found is None else str(found)


def number(value: float) -> str:
    """Return a number with six significant digits."""
    return f"{value:.6g}"


def date(record: Record) -> str:
    """Return when a record was saved, in UTC."""
    return datetime.datetime.fromtimestamp(record.wall, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def when(record: Record) -> str:
    """Return when a record was saved: its age on a terminal, and the date in UTC on a pipe."""
    if not record.wall:
        return ""
    return age(record) if sys.stdout.isatty() else date(record)


def local_date(record: Record) -> str:
    """Return when a record was saved, in local time."""
    return datetime.datetime.fromtimestamp(record.wall).strftime("%Y-%m-%d %H:%M:%S")


def age(record: Record) -> str:
    """Return how long ago a record was saved."""
    return ago(record.wall)


def ago(moment: float) -> str:
    """Return how long ago a moment was, which is given in UTC seconds since 1970."""
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"
