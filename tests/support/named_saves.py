"""A run without a framework, in which the test decides what is saved, and under which names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.policy.named_only import NamedOnly
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.testing import FakeWriter
from tests.support.training import new_run, start

NAMED = Policy(NamedOnly())


def begun(dirpath: Path, **given: Any) -> Run:
    """Return a run that has begun."""
    run = new_run(dirpath, NAMED, **given)
    run.open()
    start(run)
    return run


def save(run: Run, file: str, payload: bytes = b"checkpoint", **given: Any) -> int:
    """Save under a name, and return the number of the save."""
    facts = {name: given.pop(name) for name in ("step", "epoch", "metrics") if name in given}
    kind = given.pop("kind", EventKind.STEP_END)
    source = given.pop("source", FakeWriter(payload))
    return run.named.save(file, Event(kind, **facts), reason="asked by a test", source=source, **given)


def files(dirpath: Path) -> dict[str, bytes]:
    """Return what each file holds, except those that are private."""
    found = (path for path in dirpath.rglob("*") if path.is_file() and ".run" not in path.parts)
    return {path.relative_to(dirpath).as_posix(): path.read_bytes() for path in found}
