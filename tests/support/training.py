"""A fake training run without a framework, for which a test provides the snapshots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.policy.decision import Decision
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.run.saver import Saver
from ckpt_callbacks.run.snapshot import Snapshot
from ckpt_callbacks.run.source import Embedded
from ckpt_callbacks.runtime.worker import Worker
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.testing import FakeWriter

Stage = Callable[[Embedded], Snapshot]


class Training:
    """The source of a run.

    Attributes:
        stage: Takes the next snapshot.
    """

    def __init__(self) -> None:
        self.stage: Stage = FakeWriter().snapshot

    def snapshot(self, embedded: Embedded) -> Snapshot:
        return self.stage(embedded)

    def metadata(self) -> dict[str, Any]:
        return {}


def new_run(dirpath: Path, policy: Policy, *, suffix: str = ".raw", **given: Any) -> Run:
    """Return a run that is not open; ``given`` are settings, a ``clock``, or the ``described`` policy."""
    own = {name: given.pop(name) for name in ("clock", "described") if name in given}
    return Run(policy, Settings(dirpath, **given), suffix=suffix, framework="test", name="test", **own)


def start(run: Run, step: int = 0, epoch: int = 0) -> Training:
    """Start the run; returns its source."""
    training = Training()
    run.start(training, step=step, epoch=epoch)
    return training


class StartedRun:
    """A run that has started, and that a ``with`` statement closes.

    Attributes:
        run: As given.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        run.open()
        start(run)

    def __enter__(self) -> StartedRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.run.close()


def report(run: Run, kind: EventKind, *, stage: Stage | Any = None, **facts: Any) -> Decision:
    """Report an event, at which ``stage``, or its ``snapshot``, takes the snapshot if one is due."""
    if stage is not None:
        run._session._source.stage = getattr(stage, "snapshot", stage)
    return run.observe(Event(kind, **facts))


# -- what has no public name, and tests have to reach ------------------------------------------------------------------


def run_of(callback: Any) -> Run:
    """Return the run of a framework's callback."""
    return callback._run


def worker_of(run: Run) -> Worker:
    """Return the part of a run that carries out its saves."""
    return run._worker


def saver_of(run: Run) -> Saver:
    """Return the source of the run's snapshots."""
    return run._session.saver


def compacted_often(run: Run, most: int = 1) -> Run:
    """Have the run move records to the history once there are so many, as a long run does; return it."""
    run.directory._compaction.most = most
    return run


def written(run: Run) -> None:
    """Wait until everything is written; unlike `Run.wait`, do not deliver the outcomes."""
    worker_of(run).wait()


def look_for_requests_at_once(run: Run) -> None:
    """Make the run check the disk at its next step; otherwise, it checks twice a second."""
    run._control._polled_at = -1.0
