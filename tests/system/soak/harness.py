"""A comparison of the results of an uninterrupted run and of one that is killed and resumed."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckpt_callbacks.store.manifest import Manifest
from tests.system.soak.attempt import Attempt, Kill, Training, attempt
from tests.system.soak.rows import Row

MOST_KILLS = 3
WITHIN_SAVES = 1 / 3  # of all kills: before a system call below the run directory instead of at a random time


@dataclass
class Outcome:
    """The runs of one row on one engine.

    Attributes:
        kills: The number of all kills.
        within_saves: The number of those before a call below the run directory.
        resumes: The number of resumes from a checkpoint.
        mid_epoch: The number of those that continued within an epoch.
        different: A line for each run that ended with a different result.
        seconds: The duration of the whole row in seconds.
    """

    row: str
    engine: str
    runs: int = 0
    kills: int = 0
    within_saves: int = 0
    resumes: int = 0
    mid_epoch: int = 0
    seconds: float = 0.0
    different: list[str] = field(default_factory=list)


def soak(row: Row, engine: str, training: Training, runs: int, seed: int, place: Path) -> Outcome:
    """Train once without interruption, then ``runs`` times with up to three kills each.

    Raises:
        RuntimeError: A run ended with an error, or not at all.
    """
    outcome, began = Outcome(row.name, engine), time.monotonic()
    whole = attempt(training, place / "whole", row.processes)
    for number in range(runs):
        draw = random.Random(f"{seed} {row.name} {engine} {number}")
        dirpath, kills, facts = place / f"run-{number}", [], {}
        while not kills:  # a run may end before its first kill, and then does not count as interrupted
            shutil.rmtree(dirpath, ignore_errors=True)
            facts = _interrupted(row, training, dirpath, whole, draw, kills)
        manifest = Manifest.read(dirpath)
        steps = [manifest.records[a.parent].step for a in manifest.attempts if a.parent is not None]
        outcome.runs += 1
        outcome.kills += len(kills)
        outcome.within_saves += sum(kill.call is not None for kill in kills)
        outcome.resumes += len(steps)
        outcome.mid_epoch += sum(step % row.updates != 0 for step in steps)
        if facts != whole.facts:
            differing = ", ".join(_differing(facts, whole.facts))
            outcome.different.append(
                f"{row.name} on {engine}, seed {seed}, run {number}: {differing} differ; "
                f"{'; '.join(map(str, kills))}; resumed from steps {steps}"
            )
        shutil.rmtree(dirpath, ignore_errors=True)
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _interrupted(
    row: Row, training: Training, dirpath: Path, whole: Attempt, draw: random.Random, kills: list[Kill]
) -> dict[int, dict[str, Any]]:
    """Start the run again until it ends; add the kills that came in time to ``kills``."""
    for _ in range(draw.randint(1, MOST_KILLS)):
        fraction = draw.random() * (1 - _newest_step(dirpath) / row.total)  # of what is left to train
        if draw.random() < WITHIN_SAVES:
            kill = Kill(0, call=1 + int(fraction * whole.calls))
        else:
            kill = Kill(draw.randrange(row.processes), after=fraction * whole.seconds)
        found = attempt(training, dirpath, row.processes, kill)
        if not found.killed:
            return found.facts
        kills.append(kill)
    return attempt(training, dirpath, row.processes).facts


def _newest_step(dirpath: Path) -> int:
    live = Manifest.read(dirpath).live()
    return live[-1].step if live else 0


def _differing(facts: dict[int, dict[str, Any]], whole: dict[int, dict[str, Any]]) -> list[str]:
    return sorted({name for rank in whole for name, value in whole[rank].items() if facts[rank][name] != value})
