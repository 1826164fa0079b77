"""The training time lost to a save: slower steps while it is written, and the time for which it blocks training.

    python -m benchmarks.interference [--quick]

Each step keeps all cores busy with matrix products. The benchmark follows a save until a few steps after it has
landed. The training time lost is the time of these steps minus the time of the same number of undisturbed steps in the
same run.
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from pathlib import Path

from . import engines
from .engines import WORK
from .report import GB, MB, Table, Target, median, ratio, spread
from .subject import LIMIT, OURS, PEER, Enough, Subject

TAIL = 5  # steps after a save has landed, because deletions and write-back that follow it count as well


def plan(engine: str, quick: bool) -> tuple[int, int, int, int]:
    """Return the size in bytes, and the numbers of steps between saves, of saves in a fit, and of rounds.

    The first save in a fit allocates memory.
    """
    if quick:
        return (10 if engine in engines.KERAS else 30) * MB, 12, 2, 1
    return 1200 * MB, 200, 5, 2


class Watch:
    """A timer for the steps of a fit, and for the effect of each save on them.

    Args:
        subject: The saving method.
        every: The number of steps between saves, large enough for a save to land.
        count: The number of saves to measure.
    """

    def __init__(self, subject: Subject, every: int, count: int) -> None:
        self.saves: list[dict[str, float]] = []
        self._subject, self._every, self._count = subject, every, count
        self._ends: list[float] = []  # the times at which steps ended
        self._from = 0.0  # when the save began, which is when its step ended
        self._blocked = 0.0
        self._in_background = False  # the save continued after the hook
        self._landed = 0  # the step at whose end the save had landed; 0 before that

    def end(self) -> None:
        self._ends.append(time.perf_counter())
        step, since = len(self._ends), len(self._ends) % self._every
        if self._from and not self._landed and self._subject.landed():
            self._landed = step
        if self._from and since == self._every - 1:
            self._close(step - since)
            if len(self.saves) == self._count:
                raise Enough

    def save(self, hook, step: int) -> None:
        if step == 0 or step % self._every:
            hook()
            return
        self._from, self._landed = time.perf_counter(), 0
        hook()
        self._blocked = time.perf_counter() - self._from
        self._in_background = not self._subject.landed()

    def _close(self, first: int) -> None:
        """Compute the figures of the last save, shortly before the next one.

        Args:
            first: The number of steps done when the last save began.
        """
        if not self._landed or self._landed + TAIL >= len(self._ends):
            raise RuntimeError(f"a save had not landed after {self._every} steps; more steps are needed between saves")
        over, last = self._landed + TAIL, len(self._ends)
        alone = (self._ends[last - 1] - self._ends[over - 1]) / (last - over)
        writing = self._landed - first

        def lost(until: int) -> float:
            return self._ends[until - 1] - self._from - (until - first) * alone

        written = self._subject.timings().get("written")  # reported by this package; the rest is reading back
        durable = self._landed if written is None else bisect_left(self._ends, self._from + written) + 1
        elapsed, background = self._ends[self._landed - 1] - self._from, self._in_background
        self.saves.append({
            "alone": 1 / alone,
            "writing": writing / (elapsed - self._blocked) if background else None,
            "blocked": self._blocked,
            "landed": elapsed if background else self._blocked,
            "lost": lost(over),
            "lost_reading": lost(over) - lost(min(durable, over)) if written is not None and background else None,
        })  # fmt: skip


def watched(fit, subject: Subject, engine: str, quick: bool) -> list[dict[str, float]]:
    """Run one fit, and return the effect of each save on its steps."""
    size, every, count, _ = plan(engine, quick)
    watch = Watch(subject, every, count)
    with contextlib.suppress(Enough):
        fit(subject, size, every * (count + 1) + 1, work=WORK, save=watch.save, end=watch.end)
    return watch.saves


def engine(name: str, quick: bool) -> None:
    fit, subjects = engines.framework(name)
    with engines.scratch() as folder:
        for turn in range(plan(name, quick)[3]):
            for subject in (subjects.WarmCopy, *subjects.MAIN[1:]):

                def job(place: Path, subject=subject) -> dict:
                    return {"saves": watched(fit, subject(place, plan(name, quick)[1]), name, quick)}

                engines.forked({"name": subject.name, "role": subject.role, "turn": turn}, job, Path(folder))


COLUMNS = (
    "", "steps/s undisturbed", "steps/s while it writes", "ratio", "blocked s", "landed after s",
    "training time lost s", "of it while reading back", "lost ÷ blocked", "÷ best peer",
)  # fmt: skip
KEYS = ("alone", "writing", "blocked", "landed", "lost", "lost_reading")


def table(where: str, results: list[dict]) -> tuple[Table, list[Target]]:
    """Return the table of all subjects on one engine, and the targets."""
    found, failures, rows = {}, [], []
    for name in dict.fromkeys(result["name"] for result in results):
        of = [result for result in results if result["name"] == name]
        failures += [f"{name}: {r.get('missing', r.get('error'))}" for r in of if "saves" not in r][:1]
        warm = [save for result in of for save in result.get("saves", ())[1:]]
        found[name] = {"role": of[0]["role"], **{key: spread(warm, key) for key in KEYS}}
    lost = {name: median(figures["lost"]) for name, figures in found.items()}
    peers = [lost[name] for name, figures in found.items() if figures["role"] == PEER]
    best = min((value for value in peers if value and value > 0), default=None)
    for name, figures in found.items():
        alone, writing, blocked = (median(figures[key]) for key in ("alone", "writing", "blocked"))
        cells = (figures["alone"], figures["writing"], ratio(writing, alone), figures["blocked"], figures["landed"])
        cells += (figures["lost"], figures["lost_reading"])
        rows.append((name, *cells, ratio(lost[name], blocked), ratio(lost[name], best)))
    ours = next(name for name, figures in found.items() if figures["role"] == OURS)
    copy = next((median(figures["blocked"]) for figures in found.values() if figures["role"] == LIMIT), None)
    targets = [Target(f"{where}: training time lost ÷ warm copy", ratio(lost[ours], copy), 3)]
    if (peer := "torch dcp.async_save, cached stager") in lost:
        targets.append(Target(f"{where}: training time lost ÷ {peer}", ratio(lost[ours], lost[peer]), 1 / 10))
    return Table(f"Interference: {where}", COLUMNS, rows, failures), targets


def tables(quick: bool) -> list[Table]:
    names = [engines.LIGHTNING, "tensorflow"]
    results = engines.run("interference", names, *(["--quick"] if quick else []))
    made, judged = [], []
    for name in names:
        where = "Keras on tensorflow" if name in engines.KERAS else "Lightning"
        where += f", {plan(name, quick)[0] / GB:g} GB"
        one, targets = table(where, [result for result in results if result["engine"] == name])
        made.append(one)
        judged += targets
    return [*made, Target.table("Interference: targets", judged)]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
