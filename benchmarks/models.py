"""The time for which a save blocks training, for models like those that people train in Lightning.

    python -m benchmarks.models [--quick]

Each measurement is a real `Trainer.fit` in its own process, and a save begins when the one before it has landed. The
limit is the work that no snapshot can avoid: to call ``state_dict()`` of the module and the optimizers, and to copy the
result into warm memory.
"""

from __future__ import annotations

from pathlib import Path

from . import engines
from .report import MB, Spread, Table, Target, median, ratio, spread
from .stall import EVERY, saves_of
from .subject import LIMIT, OURS

SAVES = 7  # in each fit; the first one allocates
FACTOR, EXTRA = 1.4, 0.002  # a multiple of the limit, and seconds in addition


def engine(name: str, quick: bool) -> None:
    from . import lightning_models

    fit, subjects = engines.framework(name)
    with engines.scratch() as folder:
        for model, make in lightning_models.models(quick):
            for turn in range(1 if quick else 2):
                for subject in subjects.MODELS:
                    labels = {"name": subject.name, "role": subject.role, "model": model, "turn": turn}

                    def job(place: Path, subject=subject, make=make) -> dict:
                        made = make()
                        tensors, size = subjects.extent(made)
                        return {
                            "saves": saves_of(fit, subject(place, EVERY), made, SAVES), "tensors": tensors, "size": size
                        }  # fmt: skip

                    engines.forked(labels, job, Path(folder))


def blocked(results: list[dict], *, first: bool = False) -> Spread | None:
    """Return for how many milliseconds a save blocked training: the first save of each fit, or the later ones."""
    saves = [save for result in results for save in result.get("saves", ())[slice(0, 1) if first else slice(1, None)]]
    found = spread(saves, "blocked")
    return Spread(*(1000 * value for value in (found.median, found.low, found.high))) if found else None


def figures(results: list[dict]) -> tuple[dict[str, list[dict]], str, str]:
    """Return the results of one model by the subject's name, and the names of the limit and of this package."""
    by_name: dict[str, list[dict]] = {}
    for result in results:
        by_name.setdefault(result["name"], []).append(result)
    roles = {result["role"]: result["name"] for result in results}
    return by_name, roles[LIMIT], roles[OURS]


def table(where: str, results: list[dict]) -> Table:
    """Return the table of all models of one engine."""
    names = list(dict.fromkeys(result["name"] for result in results))
    rows, notes = [], []
    for model in dict.fromkeys(result["model"] for result in results):
        by_name, *_ = figures([result for result in results if result["model"] == model])
        one = next((r for found in by_name.values() for r in found if "size" in r), {"tensors": None, "size": 0})
        row = [model, one["tensors"], one["size"] / MB, *[blocked(by_name[name]) for name in names]]
        rows.append((*row, *[blocked(by_name[name], first=True) for name in names]))
        troubles = [f"{model}, {n}: {r[k]}" for n in names for r in by_name[n] for k in ("missing", "error") if k in r]
        notes += troubles[:1]
    columns = ("", "tensors", "MB", *[f"{name} ms" for name in names], *[f"first: {name} ms" for name in names])
    return Table(f"Models: {where}", columns, rows, notes)


def targets(where: str, results: list[dict]) -> list[Target]:
    """Return the target of each model of one engine."""
    found = []
    for model in dict.fromkeys(result["model"] for result in results):
        by_name, limit, ours = figures([result for result in results if result["model"] == model])
        measured, least = (median(blocked(by_name[name])) for name in (ours, limit))
        if least is not None:
            bound = FACTOR * least + 1000 * EXTRA
            found.append(Target(f"{where}, {model}: ms blocked", measured, bound))
        peer = next((median(blocked(by_name[name])) for name in by_name if "ModelCheckpoint" in name), None)
        if least is not None and peer is not None and bound <= peer / 10:
            found.append(Target(f"{where}, {model}: blocked ÷ ModelCheckpoint", ratio(measured, peer), 0.1))
    return found


def tables(quick: bool) -> list[Table]:
    results = engines.run("models", [engines.LIGHTNING], *(["--quick"] if quick else []))
    where = engines.LIGHTNING.capitalize()
    return [table(where, results), Target.table("Models: targets", targets(where, results))]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
