"""The time for which one save blocks training, and its cost until it is on disk.

    python -m benchmarks.stall [--quick]

Each row is a real `Trainer.fit` or `model.fit` in its own process. A third of the state is weights, and the rest
belongs to Adam. The timer covers the hook in which a callback saves. Training then waits until the save has landed, so
that the CPU seconds are those of the save alone. The subjects take turns in each round.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from . import engines, probes
from .report import GB, MB, Spread, Table, Target, median, ratio, spread
from .subject import LIMIT, OURS, PEER, Enough, Subject, measured

EVERY = 2
TO_DISK = "torch.save, fsync, rename"
STAGER = "torch dcp.async_save, cached stager"
WITH_ARRAYS = "KerasCheckpoint, EarlyStopping(restore_best_weights=True)"


def plan(engine: str, quick: bool) -> tuple[tuple[int, ...], int, int]:
    """Return the sizes in bytes, the number of rounds, and that of saves in each fit (the first of which allocates)."""
    if quick:
        return (10 * MB if engine in engines.KERAS else 100 * MB,), 1, 3
    return (10 * MB, 100 * MB, 1200 * MB), 2 if engine in engines.KERAS else 3, 4


def saves_of(fit, subject: Subject, state: object, count: int) -> list[dict]:
    """Run one fit and return the cost of each of its first ``count`` saves; ``state`` is as for `lightning_fit.fit`."""
    saves: list[dict] = []
    steps = 0

    def save(hook, step: int) -> None:
        if step == 0 or step % EVERY:
            hook()
            return
        saves.append(measured(subject, hook))
        if len(saves) == count:
            raise Enough

    def end() -> None:
        nonlocal steps
        steps += 1
        if subject.callback is None and steps % EVERY == 0:
            saves.append({"before": probes.resident()})

    with contextlib.suppress(Enough):
        fit(subject, state, EVERY * count + 1, save=save, end=end)
    return saves


def engine(name: str, quick: bool) -> None:
    fit, subjects = engines.framework(name)
    sizes, rounds, count = plan(name, quick)
    with engines.scratch() as folder:
        for size in sizes:
            for turn in range(rounds):
                for subject in subjects.SUBJECTS:
                    labels = {
                        "name": subject.name,
                        "role": subject.role,
                        "fsyncs": subject.fsyncs,
                        "size": size,
                        "turn": turn,
                    }

                    def job(place: Path, subject=subject, size=size) -> dict:
                        return {"saves": saves_of(fit, subject(place, EVERY), size, count)}

                    engines.forked(labels, job, Path(folder))


def figures(results: list[dict], floor: float | None) -> dict[str, Spread | None]:
    """Return the figures of one subject at one size.

    Args:
        results: The results of its fits.
        floor: The bytes of memory that the same training uses without checkpoints.
    """
    warm = [save for result in results for save in result.get("saves", ())[1:]]
    found = {key: spread(warm, key) for key in ("blocked", "written", "durable", "verified", "cpu")}
    firsts = [save for result in results for save in result.get("saves", ())[:1]]
    found["first"] = spread(firsts, "blocked")
    peaks = [max(save["peak"] for save in result["saves"]) for result in results if result.get("saves") and floor]
    found["memory"] = Spread.of((top - floor) / MB for top in peaks if top) if any(peaks) else None
    return found


COLUMNS = (
    "", "blocked s", "÷ warm copy", "÷ best peer", "written s", "durable s", "verified s", "CPU s", "more memory MB",
    "first save blocked s",
)  # fmt: skip
NOTES = (
    "Medians, with the range, of the saves after the first of each fit. The first save allocates memory.",
    "written: the write returned. durable: the file was forced to the disk, by the benchmark for rows with a †, which "
    "never do it themselves. verified: the file was read back and compared.",
    "More memory: the highest use during any save, minus that of the same training without checkpoints.",
)


def summarised(results: list[dict]) -> dict[str, tuple[dict, dict[str, Spread | None]]]:
    """Return the labels and the figures of each subject, at one size on one engine."""
    names = list(dict.fromkeys(result["name"] for result in results))
    bare = [save for result in results if result["name"] == Subject.name for save in result.get("saves", ())]
    floor = median(spread(bare, "before"))
    of = {name: [result for result in results if result["name"] == name] for name in names if name != Subject.name}
    return {name: (found[0], figures(found, floor)) for name, found in of.items()}


def blocked_of(summary: dict, role: str, word: str = "") -> float | None:
    """Return the shortest median blocking time of the subjects with this role."""
    found = [median(f["blocked"]) for name, (labels, f) in summary.items() if labels["role"] == role and word in name]
    return min((value for value in found if value is not None), default=None)


def table(where: str, size: int, results: list[dict]) -> Table:
    """Return the table of all subjects at one size on one engine."""
    summary, rows, failures = summarised(results), [], []
    copy, best = blocked_of(summary, LIMIT, "copy"), blocked_of(summary, PEER)
    for name, (labels, found) in summary.items():
        trouble = next(
            (f"{k}: {r[k]}" for r in results if r["name"] == name for k in ("missing", "error") if k in r), None
        )
        if trouble:
            failures.append(f"{name}: {trouble.replace('missing: ', 'not installed: ')}")
        blocked = median(found["blocked"])
        shown = name + ("" if labels["fsyncs"] or labels["role"] != PEER else " †")
        if labels["role"] == LIMIT:
            found = {**found, "written": None, "durable": None if "copy" in name else found["durable"], "memory": None}
        row = [shown, found["blocked"], ratio(blocked, copy), ratio(blocked, best)]
        rows.append((*row, *[found[key] for key in ("written", "durable", "verified", "cpu", "memory", "first")]))
    return Table(f"Stall: {where}, {size / GB:g} GB", COLUMNS, rows, failures)


def targets(where: str, summary: dict) -> list[Target]:
    """Return the targets at one size."""

    def figure(name: str, key: str) -> float | None:
        return median(summary[name][1][key]) if name in summary else None

    ours = next(name for name, (labels, _) in summary.items() if labels["role"] == OURS)
    blocked = figure(ours, "blocked")
    found = [Target(f"{where}: blocked ÷ warm copy", ratio(blocked, blocked_of(summary, LIMIT, "copy")), 1.5)]
    copy = next(
        (median(f["first"]) for n, (labels, f) in summary.items() if labels["role"] == LIMIT and "copy" in n), None
    )
    if copy is not None:
        what = f"{where}: first save blocked ÷ (1.2 first copies + 20 ms)"
        found.append(Target(what, ratio(figure(ours, "first"), 1.2 * copy + 0.02), 1))
    bounds = {
        "Lightning ModelCheckpoint": 1 / 15, "Lightning AsyncCheckpointIO": 1 / 3,
        STAGER: 1,
        "Keras ModelCheckpoint, .keras": 1 / 15, "Keras ModelCheckpoint, .weights.h5": 1 / 4,
    }  # fmt: skip
    for name, bound in bounds.items():
        if name in summary:
            found.append(Target(f"{where}: blocked ÷ {name}", ratio(blocked, figure(name, "blocked")), bound))
    if WITH_ARRAYS in summary:
        with_arrays = figure(WITH_ARRAYS, "blocked")
        found.append(Target(f"{where}: {WITH_ARRAYS} ÷ without it", ratio(with_arrays, blocked), 1.5))
    if TO_DISK in summary:
        what = f"{where}: CPU seconds until durable and verified ÷ {TO_DISK}"
        found.append(Target(what, ratio(figure(ours, "cpu"), figure(TO_DISK, "cpu")), 1 / 2))
    return found


def tables(quick: bool) -> list[Table]:
    names = [engines.LIGHTNING, *engines.KERAS, *([engines.GPU] if engines.has_gpu() else [])]
    results = engines.run("stall", names, *(["--quick"] if quick else []))
    made, judged = [], []
    for name in names:
        where = f"Keras on {name}" if name in engines.KERAS else name.capitalize().replace("-gpu", " on a GPU")
        sizes = plan(name, quick)[0]
        for size in sizes:
            found = [result for result in results if (result["engine"], result["size"]) == (name, size)]
            made.append(table(where, size, found))
            some = targets(f"{where}, {size / GB:g} GB", summarised(found))
            judged += [target for target in some if size == sizes[-1] or STAGER in target.what]
    made[0] = replace(made[0], notes=(*NOTES, *made[0].notes))
    note = f"All targets at the largest size; at the others, the one that compares with {STAGER}."
    return [*made, Target.table("Stall: targets", judged, [note])]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
