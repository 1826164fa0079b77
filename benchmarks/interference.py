"""What training loses while a save is being written: steps that are slower, and the time in which it stands still.

    python benchmarks/interference.py [--quick]

Each step keeps all cores busy with products of matrices. A save is followed until it has landed and a few steps more;
what these steps take beyond as many undisturbed ones of the same run is the training time that the save cost.
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from pathlib import Path

import engines
from measure import MB, Table, Target, ratio, spread
from stall import GB, median
from subject import OURS, PEER, Enough, Subject

TAIL = 5  # steps after a save has landed: what it leaves behind to be deleted or written back counts too
WORK = 4  # products of matrices in a step


def plan(engine: str, quick: bool) -> tuple[int, int, int, int]:
    """Size in bytes, steps between saves, saves in a fit (the first of which allocates), rounds."""
    if quick:
        return (10 if engine in engines.KERAS else 30) * MB, 12, 2, 1
    return 1200 * MB, 200, 5, 2


class Watch:
    """Times the steps of a fit, and what each save does to them.

    Args:
        every: Steps from one save to the next, which have to be enough for it to land.
    """

    def __init__(self, subject: Subject, every: int, count: int) -> None:
        self.saves: list[dict[str, float]] = []
        self._subject, self._every, self._count = subject, every, count
        self._ends: list[float] = []  # the moments at which steps ended
        self._from = 0.0  # the save's begin, which is the end of its step
        self._blocked = 0.0
        self._beside = False  # it went on after the hook
        self._landed = 0  # the step at whose end the save had landed; 0 while it has not, or there was none

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
        self._beside = not self._subject.landed()

    def _close(self, first: int) -> None:
        """The next save is near. ``first``: the number of steps done when the last one began."""
        if not self._landed or self._landed + TAIL >= len(self._ends):
            raise RuntimeError(f"a save had not landed after {self._every} steps; more steps are needed between saves")
        # What the hook begins with differs by an instant from the step's end.
        over, last = self._landed + TAIL, len(self._ends)
        alone = (self._ends[last - 1] - self._ends[over - 1]) / (last - over)
        writing = self._landed - first

        def lost(until: int) -> float:
            return self._ends[until - 1] - self._from - (until - first) * alone

        told = self._subject.timings().get("written")  # ours: what follows is reading back
        durable = self._landed if told is None else bisect_left(self._ends, self._from + told) + 1
        self.saves.append({
            "alone": 1 / alone,
            "writing": writing / (self._ends[self._landed - 1] - self._from - self._blocked) if self._beside else None,
            "blocked": self._blocked,
            "landed": self._ends[self._landed - 1] - self._from if self._beside else self._blocked,
            "lost": lost(over),
            "lost_reading": lost(over) - lost(min(durable, over)) if told is not None and self._beside else None,
        })  # fmt: skip


def watched(fit, subject: Subject, engine: str, quick: bool) -> list[dict[str, float]]:
    """What each save of one fit did to its steps."""
    size, every, count, _ = plan(engine, quick)
    watch = Watch(subject, every, count)
    with contextlib.suppress(Enough):
        fit(subject, size, every * (count + 1) + 1, work=WORK, save=watch.save, end=watch.end)
    return watch.saves


def engine(name: str, quick: bool) -> None:
    fit, subjects = engines.framework(name)
    with engines.scratch() as folder:
        for turn in range(plan(name, quick)[3]):
            for subject in subjects.MAIN[1:]:

                def job(place: Path, subject=subject) -> dict:
                    return {"saves": watched(fit, subject(place, plan(name, quick)[1]), name, quick)}

                engines.forked({"name": subject.name, "role": subject.role, "turn": turn}, job, Path(folder))


COLUMNS = (
    "", "steps/s undisturbed", "steps/s while it writes", "ratio", "blocked s", "landed after s",
    "training time lost s", "of it while reading back", "lost ÷ blocked", "÷ best peer",
)  # fmt: skip
KEYS = ("alone", "writing", "blocked", "landed", "lost", "lost_reading")


def table(where: str, results: list[dict]) -> tuple[Table, list[Target]]:
    """All subjects on one engine, and the targets."""
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
    alone, writing, blocked = (median(found[ours][key]) for key in ("alone", "writing", "blocked"))
    peer = "Lightning AsyncCheckpointIO"
    targets = [
        Target(f"{where}: training time lost ÷ blocked", ratio(lost[ours], blocked), 2),
        Target(f"{where}: steps/s while it writes ÷ undisturbed", ratio(writing, alone), 0.9, at_least=True),
    ]
    if peer in lost:
        targets.append(Target(f"{where}: training time lost ÷ {peer}", ratio(lost[ours], lost[peer]), 1 / 10))
    return Table(f"Interference: {where}", COLUMNS, rows, failures), targets


def tables(quick: bool) -> list[Table]:
    names = [engines.LIGHTNING, "tensorflow"]
    results = engines.run("interference.py", names, *(["--quick"] if quick else []))
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
