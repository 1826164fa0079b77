"""The time from the request to resume to the start of the first step.

    python -m benchmarks.restore [--quick]

All rows of a framework read the same file. "Warm" means that the file is in the page cache, "cold" that the benchmark
dropped it from the page cache. The seconds of a fit are those in excess of a fit that starts from scratch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from . import engines, probes
from .report import GB, MB, Table, Target, median, ratio, spread
from .subject import Enough, Subject

STEPS = 9
FRESH = "a fit that starts afresh"


def plan(engine: str, quick: bool) -> tuple[int, int]:
    """Return the size in bytes, and the number of rounds."""
    return (10 if engine in engines.KERAS else 100) * MB if quick else 1200 * MB, 1 if quick else 3


def until_first_step(fit, subject: Subject, size: int, before: Callable[[], dict] = dict) -> dict[str, float]:
    """Return the seconds that ``before`` takes, and those from its start to the start of the first step."""
    moments: list[float] = []

    def ready() -> dict:
        moments.append(time.perf_counter())
        arguments = before()
        moments.append(time.perf_counter())
        return arguments

    def begin() -> None:
        moments.append(time.perf_counter())
        raise Enough

    with contextlib.suppress(Enough):
        fit(subject, size, STEPS, begin=begin, ready=ready)
    start, prepared, first = moments
    return {"opened": prepared - start, "total": first - start}


def saved(fit, make: type, place: Path, size: int) -> dict:
    """Leave one checkpoint of a subject in a folder."""
    place.mkdir()
    subject = make(place, 2)

    def save(hook, step: int) -> None:
        hook()
        if step == 2:
            subject.wait()
            probes.force_to_disk(place)
            raise Enough

    with contextlib.suppress(Enough):
        fit(subject, size, STEPS, save=save)
    return {}


def file_of(place: Path, suffix: str) -> Path:
    """Return the checkpoint in a folder."""
    return next(path for path in place.iterdir() if path.suffix == suffix and not path.is_symlink())


def lightning_jobs(fit, subjects, place: Path, size: int) -> dict[str, Callable[[Path], dict]]:
    """Return the rows for Lightning, as functions that measure them."""

    def ours(scratch: Path) -> dict:
        subject = subjects.Ours(place, 10**6)
        return until_first_step(fit, subject, size, lambda: {"ckpt_path": subject.callback.resume_path()})

    def theirs(scratch: Path) -> dict:
        path = {"ckpt_path": str(file_of(place, ".ckpt")), "weights_only": False}
        return until_first_step(fit, subjects.LightningSubject(scratch, 2), size, lambda: path)

    def fresh(scratch: Path) -> dict:
        return until_first_step(fit, subjects.LightningSubject(scratch, 2), size)

    def plain(scratch: Path) -> dict:
        from lightning.pytorch.plugins.io import TorchCheckpointIO

        from .lightning_fit import Model

        module = Model(size)
        optimizer = module.configure_optimizers()
        start = time.perf_counter()
        checkpoint = TorchCheckpointIO().load_checkpoint(file_of(place, ".ckpt"), weights_only=False)
        module.load_state_dict(checkpoint["state_dict"])
        optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        return {"seconds": time.perf_counter() - start}

    return {
        FRESH: fresh,
        "ours: ckpt.resume_path(), fit": ours,
        "Lightning: fit(ckpt_path=...)": theirs,
        PLAIN: plain,
    }


PLAIN = "Lightning: load_checkpoint, load_state_dict"


def keras_jobs(fit, subjects, place: Path, size: int) -> dict[str, Callable[[Path], dict]]:
    """Return the rows for Keras, as functions that measure them."""

    def ours(scratch: Path) -> dict:
        return until_first_step(fit, subjects.Ours(place, 10**6), size)

    def fresh(scratch: Path) -> dict:
        return until_first_step(fit, subjects.KerasSubject(scratch, 2), size)

    def plain(scratch: Path) -> dict:
        from .keras_fit import model_of

        model = model_of(size)
        start = time.perf_counter()
        model.load_weights(file_of(place, ".keras"))
        return {"seconds": time.perf_counter() - start}

    def whole(scratch: Path) -> dict:
        import keras

        start = time.perf_counter()
        keras.saving.load_model(file_of(place, ".keras"))
        return {"seconds": time.perf_counter() - start}

    return {FRESH: fresh, "ours: fit": ours, "Keras: load_weights": plain, "Keras: load_model": whole}


def engine(name: str, quick: bool) -> None:
    fit, subjects = engines.framework(name)
    size, rounds = plan(name, quick)
    jobs_of = keras_jobs if name in engines.KERAS else lightning_jobs
    with engines.scratch() as folder:
        place = Path(folder, "run")
        engines.forked({"name": "saving"}, lambda _: saved(fit, subjects.Ours, place, size), Path(folder))
        for turn in range(rounds):
            for cache in ("warm", "cold"):
                for title, job in jobs_of(fit, subjects, place, size).items():
                    if cache == "cold":
                        probes.drop_from_cache(place)
                    engines.forked({"name": title, "cache": cache, "turn": turn}, job, Path(folder))


COLUMNS = ("", "file", "open and verify s", "load s", "all s", "÷ the framework's plain loading")


def table(where: str, results: list[dict]) -> tuple[Table, float | None]:
    """Return the table of one engine, and the ratio of this package to plain loading from the page cache."""
    rows, failures, compared = [], [], None
    for cache in ("warm", "cold"):
        of = [result for result in results if result.get("cache") == cache]
        names = list(dict.fromkeys(result["name"] for result in of))
        fresh = median(spread([result for result in of if result["name"] == FRESH], "total"))
        plain = median(spread([result for result in of if result["name"] in (PLAIN, "Keras: load_weights")], "seconds"))
        for name in names:
            mine = [result for result in of if result["name"] == name]
            failures += [f"{name}: {result['error']}" for result in mine if "error" in result][:1]
            for result in mine:
                if "total" in result and name != FRESH and fresh is not None:
                    result["seconds"] = result["total"] - fresh
                    result["loaded"] = result["seconds"] - result["opened"]
            apart = name.startswith("ours: ckpt")
            seconds = spread(mine, "total" if name == FRESH else "seconds")
            relation = None if name == FRESH else ratio(median(seconds), plain)
            if name.startswith("ours") and cache == "warm":
                compared = relation
            steps = (spread(mine, "opened"), spread(mine, "loaded")) if apart else (None, None)
            rows.append((name, cache, *steps, seconds, relation))
    failures += [f"saving: {result['error']}" for result in results if result["name"] == "saving" and "error" in result]
    return Table(where, COLUMNS, rows, failures), compared


def tables(quick: bool) -> list[Table]:
    names = [engines.LIGHTNING, "tensorflow"]
    results = engines.run("restore", names, *(["--quick"] if quick else []))
    made, judged = [], []
    for name in names:
        where = f"{'Keras on tensorflow' if name in engines.KERAS else 'Lightning'}, {plan(name, quick)[0] / GB:g} GB"
        one, compared = table(f"Restore: {where}", [result for result in results if result["engine"] == name])
        made.append(one)
        if name == engines.LIGHTNING:
            judged.append(Target(f"{where}, warm: all ÷ load_checkpoint, load_state_dict", compared, 1 / 2))
    return [*made, Target.table("Restore: targets", judged)]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
