"""The wall time of a whole run with regular saves, compared with the same run without any.

    python -m benchmarks.end_to_end [--quick]

The timer runs from the end of the first step until `fit` has returned and the last save is written. Each step keeps all
cores busy with matrix products. This package also writes the state at the end of `fit`, and compares it with that of
the last save.
"""

from __future__ import annotations

import time
from pathlib import Path

from . import engines
from .engines import WORK
from .report import GB, MB, Table, median, ratio, spread
from .subject import PEER, Subject


def plan(engine: str, quick: bool) -> tuple[int, int, int, int]:
    """Return the size in bytes, and the numbers of steps, of steps between saves, and of rounds."""
    if quick:
        return (10 if engine in engines.KERAS else 30) * MB, 16, 4, 1
    return 1200 * MB, 1200, 200, 2


def wall(fit, subject: Subject, engine: str, quick: bool) -> float:
    """Return the wall time of one run in seconds."""
    size, steps, every, _ = plan(engine, quick)
    ends: list[float] = []

    def save(hook, step: int) -> None:
        if step and step % every == 0:
            subject.tidy()
        hook()

    fit(subject, size, steps, work=WORK, save=save, end=lambda: ends.append(time.perf_counter()))
    if subject.role == PEER:
        subject.wait()  # this package has already waited by the time `fit` returns
    return time.perf_counter() - ends[0]


def engine(name: str, quick: bool) -> None:
    fit, subjects = engines.framework(name)
    with engines.scratch() as folder:
        for turn in range(plan(name, quick)[3]):
            for subject in subjects.MAIN:

                def job(place: Path, subject=subject) -> dict:
                    return {"wall": wall(fit, subject(place, plan(name, quick)[2]), name, quick)}

                engines.forked({"name": subject.name, "role": subject.role, "turn": turn}, job, Path(folder))


COLUMNS = ("", "wall s", "longer s", "longer %", "for each save s", "÷ best peer")


def table(where: str, saves: int, results: list[dict]) -> Table:
    """Return the table of all subjects on one engine."""
    names = list(dict.fromkeys(result["name"] for result in results))
    failures = [f"{r['name']}: {r.get('missing', r.get('error'))}" for r in results if "wall" not in r]
    walls = {name: spread([r for r in results if r["name"] == name], "wall") for name in names}
    bare = median(walls[Subject.name])
    longer = {name: median(found) - bare if found and bare else None for name, found in walls.items()}
    peers = {result["name"] for result in results if result["role"] == PEER}
    best = min((value for name, value in longer.items() if name in peers and value and value > 0), default=None)
    rows = []
    for name, more in longer.items():
        measured = more is not None and name != Subject.name
        cells = (more, 100 * more / bare, more / saves, ratio(more, best)) if measured else (None,) * 4
        rows.append((name, walls[name], *cells))
    return Table(where, COLUMNS, rows, failures)


def tables(quick: bool) -> list[Table]:
    made = []
    names = [engines.LIGHTNING, "tensorflow"]
    results = engines.run("end_to_end", names, *(["--quick"] if quick else []))
    for name in names:
        size, steps, every, _ = plan(name, quick)
        where = f"End to end: {'Keras on tensorflow' if name in engines.KERAS else 'Lightning'}, {size / GB:g} GB"
        where += f", {steps} steps, a save every {every}"
        made.append(table(where, steps // every, [result for result in results if result["engine"] == name]))
    return made


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
