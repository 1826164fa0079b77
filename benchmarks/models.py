"""The time for which a save blocks training, for models like those that people train.

    python -m benchmarks.models [--quick] [--on lightning tensorflow torch jax] [--only TEXT]

Each measurement is a real `Trainer.fit` or `model.fit` in its own process, and a save begins when the one before it has
landed. The limit is the work that no snapshot can avoid. In Lightning, it is to call ``state_dict()`` of the module and
the optimizers, and to copy the result into warm memory; in Keras, to read all variables in one call, and to copy them.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import engines
from .interference import Watch
from .report import MB, Spread, Table, Target, median, ratio, spread
from .stall import EVERY, saves_of
from .subject import LIMIT, OURS, PEER, Enough, Subject

ALL = (engines.LIGHTNING, *engines.KERAS)
SAVES = 7  # in each fit; the first one allocates
BOUNDS = {True: (1.5, 0.005), False: (1.4, 0.002)}  # by whether it is Keras: a multiple of the limit, and seconds added
# Saves of the tiny model: the seconds from one to the next, their number, and how many are left out at first.
APART, EACH_STEP = "0.5 s apart", "at each step"
PACES = {APART: (0.5, 12, 2), EACH_STEP: (0.0, 110, 10)}
TINY_SECONDS = {True: 0.004, False: 0.0015}  # by whether it is Keras, for saves that are apart
BUSY_STEPS, BUSY_SAVES = 80, 5
PER_TENSOR = 1e-5  # seconds of training that each tensor may cost


def saves_at(fit, subject: Subject, state: object, pause: float, count: int) -> list[dict]:
    """Run one fit and return the seconds for which each of its saves blocked, without waiting for the save before."""
    saves: list[dict] = []

    def save(hook, step: int) -> None:
        time.sleep(pause)
        start = time.perf_counter()
        hook()
        if step:  # in Keras, the hook is also called before the first step
            saves.append({"blocked": time.perf_counter() - start})
            subject.tidy()
        if len(saves) == count:
            raise Enough

    with contextlib.suppress(Enough):
        fit(subject, state, count + 2, save=save)
    return saves


def watched(fit, subject: Subject, state: object) -> list[dict]:
    """Run one fit whose steps keep all cores busy, and return the effect of each save on them."""
    watch = Watch(subject, BUSY_STEPS, BUSY_SAVES)
    matrix = np.ones((1024, 1024), "float32")
    product = np.empty_like(matrix)

    def end() -> None:
        np.matmul(matrix, matrix, out=product)
        watch.end()

    with contextlib.suppress(Enough):
        fit(subject, state, BUSY_STEPS * (BUSY_SAVES + 1) + 1, save=watch.save, end=end)
    return watch.saves


def engine(name: str, quick: bool, only: str = "") -> None:
    """Measure the models of one engine whose names contain ``only``."""
    fit, subjects = engines.framework(name)
    if name in engines.KERAS:
        from . import keras_models as shapes
    else:
        from . import lightning_models as shapes

    def measure(kind: str, model: str, make, rounds: int, every: int, saves) -> None:
        for turn in range(rounds):
            for subject in subjects.MODELS:

                def job(place: Path, subject=subject) -> dict:
                    made = make()
                    tensors, size = subjects.extent(made)
                    return {"saves": saves(fit, subject(place, every), made), "tensors": tensors, "size": size}

                labels = {"kind": kind, "name": subject.name, "role": subject.role, "model": model, "turn": turn}
                engines.forked(labels, job, Path(folder))

    with engines.scratch() as folder:
        for model, make in shapes.models(quick):
            if only not in model:
                continue
            measure("waiting", model, make, 1 if quick else 2, EVERY, lambda *of: saves_of(*of, SAVES))
            for pace, (pause, count, _) in PACES.items():
                if model == shapes.TINY and not quick:
                    measure(pace, model, make, 2, 1, lambda *of, p=pause, c=count: saves_at(*of, p, c))
            if model in shapes.BUSY:
                measure("busy", model, make, 1, BUSY_STEPS, watched)


class Model:
    """The results of one model on one engine: those of one kind, or of all kinds of saves.

    Attributes:
        where: The name of the engine for readers.
        is_keras: Whether it is one of Keras' backends.
        name: The name of the model.
        results: The results of its fits.
    """

    def __init__(self, engine: str, name: str, results: list[dict]) -> None:
        self.is_keras, self.name, self.results = engine in engines.KERAS, name, results
        self.where = f"Keras on {engine}" if self.is_keras else engine.capitalize()
        one = next((result for result in results if "size" in result), {"tensors": None, "size": None})
        self.tensors, self.megabytes = one["tensors"], one["size"] / MB if one["size"] is not None else None

    @property
    def subjects(self) -> list[str]:
        """The names of the saving methods."""
        return list(dict.fromkeys(result["name"] for result in self.results))

    @property
    def troubles(self) -> list[str]:
        """What could not be measured."""
        found = {
            f"{self.name}, {r['name']}: {r[key]}" for r in self.results for key in ("missing", "error") if key in r
        }
        return sorted(found)

    def of(self, role: str) -> str | None:
        """Return the name of the first saving method with a role."""
        return next((result["name"] for result in self.results if result["role"] == role), None)

    def ms(self, subject: str | None, skip: int = 1, stop: int | None = None, key: str = "blocked") -> Spread | None:
        """Return the milliseconds of one saving method, of the saves of each fit from ``skip`` to ``stop``."""
        saves = [s for r in self.results if r["name"] == subject for s in r.get("saves", ())[skip:stop]]
        found = spread(saves, key)
        return Spread(*(1000 * value for value in (found.median, found.low, found.high))) if found else None

    def mean(self, subject: str | None, skip: int) -> float | None:
        """Return the mean of the milliseconds of one saving method."""
        values = [1000 * s["blocked"] for r in self.results if r["name"] == subject for s in r.get("saves", ())[skip:]]
        return sum(values) / len(values) if values else None


def models_of(kind: str, results: list[dict]) -> list[Model]:
    """Return the models with results of one kind."""
    some = [result for result in results if result["kind"] == kind]
    keys = dict.fromkeys((result["engine"], result["model"]) for result in some)
    return [Model(*key, [result for result in some if (result["engine"], result["model"]) == key]) for key in keys]


def blocked_table(where: str, models: list[Model]) -> Table:
    """Return the table of all models of one engine."""
    names = models[0].subjects
    columns = ("", "tensors", "MB", *[f"{name} ms" for name in names], *[f"first: {name} ms" for name in names])
    rows = [
        (m.name, m.tensors, m.megabytes, *[m.ms(name) for name in names], *[m.ms(name, 0, 1) for name in names])
        for m in models
    ]
    return Table(f"Models: {where}", columns, rows, [trouble for m in models for trouble in m.troubles])


def blocked_targets(model: Model) -> list[Target]:
    """Return the targets of one model."""
    found, what = [], f"{model.where}, {model.name}:"
    measured, least = median(model.ms(model.of(OURS))), median(model.ms(model.of(LIMIT)))
    factor, extra = BOUNDS[model.is_keras]
    if least is not None:
        bound = factor * least + 1000 * extra
        found.append(Target(f"{what} ms blocked", measured, bound))
        peer = median(model.ms(model.of(PEER)))
        if peer is not None and bound <= peer / 10:
            found.append(Target(f"{what} blocked ÷ ModelCheckpoint", ratio(measured, peer), 0.1))
    first = median(model.ms(model.of(LIMIT), 0, 1))
    if first is not None:
        found.append(Target(f"{what} first save, ms blocked", median(model.ms(model.of(OURS), 0, 1)), 1.2 * first + 20))
    return found


def tiny_table(results: list[dict]) -> tuple[Table, list[Target]]:
    """Return the table of the tiny models, and the targets."""
    rows, targets, troubles = [], [], []
    for pace, (_, _, skip) in PACES.items():
        for m in models_of(pace, results):
            rows += [(m.where, m.name, pace, name, m.ms(name, skip), m.mean(name, skip)) for name in m.subjects]
            troubles += m.troubles
            ours, peer = (m.mean(m.of(role), skip) for role in (OURS, PEER))
            what = f"{m.where}, {m.name}, {pace}: ms blocked"
            if pace == APART:
                targets.append(Target(what, median(m.ms(m.of(OURS), skip)), 1000 * TINY_SECONDS[m.is_keras]))
            elif peer is not None:  # the mean, so that waiting in one save of several does not hide
                targets.append(Target(f"{what} in the mean, ModelCheckpoint's own", ours, peer))
    columns = ("", "model", "saves", "", "blocked ms", "mean ms")
    return Table("Models: saves that do not wait for one another", columns, rows, troubles), targets


def lost_table(results: list[dict]) -> tuple[Table, list[Target]]:
    """Return the table of the training time that saves cost while the steps keep all cores busy, and the targets."""
    rows, targets, troubles = [], [], []
    for m in models_of("busy", results):
        copy = median(m.ms(m.of(LIMIT)))
        bound = 3 * copy + 1000 * PER_TENSOR * m.tensors if copy is not None else None
        names = [name for name in m.subjects if name != m.of(LIMIT)]
        rows += [(m.where, m.name, copy, bound, name, m.ms(name), m.ms(name, key="lost")) for name in names]
        troubles += m.troubles
        if bound is not None:
            what = f"{m.where}, {m.name}: ms of training lost per save"
            targets.append(Target(what, median(m.ms(m.of(OURS), key="lost")), bound))
    columns = ("", "model", "warm copy ms", "3 copies + 10 µs a tensor", "", "blocked ms", "training time lost ms")
    return Table("Models: training time lost per save", columns, rows, troubles), targets


def tables(quick: bool, on: Sequence[str] = ALL, only: str = "") -> list[Table]:
    """Measure, and return the tables."""
    arguments = [*(["--quick"] if quick else []), *(["--only", only] if only else [])]
    results = engines.run("models", on, *arguments)
    models = models_of("waiting", results)
    where = dict.fromkeys(model.where for model in models)
    made = [blocked_table(name, [model for model in models if model.where == name]) for name in where]
    targets = [target for model in models for target in blocked_targets(model)]
    for table, found in (tiny_table(results), lost_table(results)):
        made += [table] if table.rows else []
        targets += found
    return [*made, Target.table("Models: targets", targets)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model per framework and backend")
    parser.add_argument("--on", nargs="+", choices=ALL, default=ALL, help="the frameworks and backends; all by default")
    parser.add_argument("--only", default="", metavar="TEXT", help="only models whose names contain this text")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        engine(arguments.engine, arguments.quick, arguments.only)
        return
    command = f"python -m benchmarks.models{' --quick' if arguments.quick else ''}"
    for table in tables(arguments.quick, arguments.on, arguments.only):
        print(table.called(command).markdown(), flush=True)


if __name__ == "__main__":
    main()
