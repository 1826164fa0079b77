"""The bytes, seconds and digits of accuracy that each kind of contents takes, and what compresses how much.

    python -m benchmarks.contents [--quick]

The weights are those of a small convolutional net that was really trained on handwritten digits, because random numbers
and fresh models compress differently. All compressors run on one core and on the same bytes, in memory or in the page
cache, and their speeds are in processor time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import engines
from .codecs import OURS, ZIPNN, Data, codecs, measured, torch_writers
from .report import MB, Spread, Table, Target
from .subject import NotInstalled
from .trained import train_keras, train_lightning

KERAS = "tensorflow"
FILE = "file:"  # an engine that compresses a file of another one
FULL = "full"
WEIGHTS, BF16, BOTH = "weights", "weights, bf16", ("full, compressed", "weights, bf16, compressed")
EVERY = 10  # steps between saves, where the time lost is measured
OFF = {"fp32": 0.17, "bf16": 0.33}
SPEEDS = {"in": 0.5, "out": 1.0}  # GB/s


def say(**result: Any) -> None:
    """Print one result for `engines.run`."""
    print(json.dumps(result), flush=True)


def kinds() -> dict[str, Any]:
    """Return the contents that are measured, by their name in the tables."""
    from ckpt_callbacks import Contents

    return {
        WEIGHTS: Contents("weights"), BF16: Contents("weights", dtype="bf16"),
        "weights, fp16": Contents("weights", dtype="fp16"),
    }  # fmt: skip


# -- the measurements --------------------------------------------------------------------------------------------------


def each_kind(run: Path, folder: Path, rounds: int, load: Callable[[Path], float]) -> None:
    """Measure what it takes to rewrite a full checkpoint to each kind of contents, and to load that.

    Args:
        run: A run directory.
        folder: A folder for copies of it.
        rounds: How often to measure.
        load: Loads a checkpoint, and returns the accuracy of the model.
    """
    from ckpt_callbacks.formats.compressed.packing import Compression
    from ckpt_callbacks.run.repacking import Repacking
    from ckpt_callbacks.run.rewriting import Rewriting
    from ckpt_callbacks.store.manifest import Manifest

    def rewritten(place: Path, contents: Any, compress: bool) -> Any:
        manifest = Manifest.read(place)
        record = manifest.live()[-1]
        if contents is not None:
            record = Rewriting(manifest, record, contents).carry_out()
        return Repacking(manifest, record, Compression(-1)).carry_out() if compress else record

    for name, contents in {FULL: None, **kinds()}.items():
        for compress in (False, True):
            for _ in range(rounds):
                with tempfile.TemporaryDirectory(dir=folder) as made:
                    place = Path(made, "run")
                    shutil.copytree(run, place, symlinks=True)
                    begun = time.perf_counter(), time.process_time()
                    record = rewritten(place, contents, compress)
                    save = time.perf_counter() - begun[0], time.process_time() - begun[1]
                    begun = time.perf_counter(), time.process_time()
                    accuracy = load(record.path)
                    say(
                        name=f"{name}{', compressed' * compress}", bytes=record.path.stat().st_size,
                        save=save[0] if contents is not None or compress else None, cpu=save[1],
                        load=time.perf_counter() - begun[0], accuracy=accuracy,
                    )  # fmt: skip


def each_codec(data: Data, folder: Path, rounds: int, more: dict[str, Any] | None = None) -> None:
    """Measure all compressors on the same bytes.

    Args:
        data: The bytes.
        folder: A folder for files.
        rounds: How often to measure.
        more: The tensors for writers that take no bytes.
    """
    for name, make in found(data, folder, more):
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            say(data=data[0], codec=name, **measured(make(place), len(data[1]), 3 * rounds))
        except NotInstalled as error:
            say(data=data[0], codec=name, missing=str(error))
        finally:
            shutil.rmtree(place, ignore_errors=True)


def found(data: Data, folder: Path, more: dict[str, Any] | None) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    for name in codecs(data, folder):
        yield name, lambda place, name=name: codecs(data, place)[name]
    for name in torch_writers(more, folder) if more else ():
        yield name, lambda place, name=name: torch_writers(more, place)[name]


def time_lost(folder: Path, quick: bool, rounds: int) -> None:
    """Measure the seconds of training that each save costs, with and without compression."""
    import lightning

    from ckpt_callbacks import Contents, Every, KeepLast, Policy

    class Clock(lightning.Callback):
        """The time of all steps but the first ones, which allocate."""

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == EVERY:
                self.begun = time.perf_counter()
            self.ended = time.perf_counter()

    saves = 2 if quick else 8
    compressed = Contents("full", compression="zstd")
    ways = {
        "no saves": Policy(Every(epochs=1000), KeepLast(1)),
        "saves, native": Policy(Every(steps=EVERY), KeepLast(2)),
        "saves, compressed": Policy(Every(steps=EVERY), KeepLast(2, contents=compressed)),
    }
    for _ in range(rounds):
        for name, policy in ways.items():
            with tempfile.TemporaryDirectory(dir=folder) as made:
                clock = Clock()
                steps = EVERY * (saves + 1)
                train_lightning(
                    Path(made, "run"), quick, policy=policy, callbacks=[clock], max_steps=steps, max_epochs=-1
                )
                say(way=name, seconds=clock.ended - clock.begun, saves=saves, steps=steps - EVERY)


def of_lightning(folder: Path, quick: bool, rounds: int) -> None:
    import torch

    import ckpt_callbacks
    from ckpt_callbacks.store.manifest import Manifest

    run = folder / "run"
    module = train_lightning(run, quick)

    def load(path: Path) -> float:
        with ckpt_callbacks.open(path) as file:
            module.load_state_dict(torch.load(file, weights_only=True)["state_dict"])
        return module.accuracy()

    each_kind(run, folder, rounds, load)
    full = Manifest.read(run).live()[-1].path
    state = torch.load(full, weights_only=True)["state_dict"]
    short = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    for name, tensors, width in (("weights fp32", state, 4), ("weights bf16", short, 2)):
        torch.save({"state_dict": tensors}, path := folder / "x.ckpt")
        each_codec((name, path.read_bytes(), width), folder, rounds, tensors)
    each_codec(("full fp32: weights, Adam's two moments", full.read_bytes(), 4), folder, rounds)
    time_lost(folder, quick, rounds * 4)  # what a save costs is less than what two trainings differ by


def of_keras(folder: Path, quick: bool, rounds: int) -> None:
    import keras

    import ckpt_callbacks
    from ckpt_callbacks.run.rewriting import Rewriting
    from ckpt_callbacks.store.manifest import Manifest

    warnings.filterwarnings("ignore")
    run = folder / "run"
    accuracy = train_keras(run, quick)

    def load(path: Path) -> float:
        with ckpt_callbacks.native_path(path) as file:
            return accuracy(keras.saving.load_model(file))

    load(Manifest.read(run).live()[-1].path)  # what is built once
    each_kind(run, folder, rounds, load)
    manifest = Manifest.read(run)
    weights = Rewriting(manifest, manifest.live()[-1]).carry_out()
    # zipnn crashes in a process that has loaded TensorFlow.
    command = [sys.executable, "-m", "benchmarks.contents", "--engine", f"{FILE}{weights.path}"]
    subprocess.run([*command, *(["--quick"] if quick else [])], cwd=engines.ROOT, check=True)


def engine(name: str, quick: bool) -> None:
    with engines.scratch() as folder:
        rounds = 1 if quick else 3
        if name.startswith(FILE):
            content = Path(name.removeprefix(FILE)).read_bytes()
            each_codec(("weights fp32, .keras", content, 4), Path(folder), rounds)
        else:
            (of_keras if name == KERAS else of_lightning)(Path(folder), quick, rounds)


# -- the tables --------------------------------------------------------------------------------------------------------


def contents_table(where: str, results: list[dict]) -> tuple[Table, dict[str, float]]:
    """Return the table of one framework, and the bytes of each kind of contents."""
    mine = [result for result in results if "bytes" in result]
    sizes = {result["name"]: float(result["bytes"]) for result in mine}
    best = next((result["accuracy"] for result in mine if result["name"] == FULL), 0.0)
    rows = []
    for name, size in sizes.items():
        same = [result for result in mine if result["name"] == name]
        spreads = [
            Spread.of(values) if (values := [r[key] for r in same if r[key] is not None]) else None
            for key in ("save", "cpu", "load")
        ]
        lost = best - same[0]["accuracy"]
        rows.append((name, size / MB, size / sizes[FULL], *spreads, f"{lost:.2%}"))
    columns = ("", "MB", "÷ full", "rewrite s", "CPU s", "load and evaluate s", "accuracy lost")
    return Table(f"Contents: {where}", columns, rows), sizes


def codec_table(data: str, results: list[dict]) -> Table:
    """Return the table of all compressors on the same bytes."""
    mine = [result for result in results if result.get("data") == data]
    rows = [(r["codec"], f"{r['off']:.1%}", r["in"], r["out"]) for r in mine if "off" in r]
    notes = [f"{r['codec']}: not installed: {r['missing']}" for r in mine if "missing" in r]
    return Table(f"Lossless compression: {data}", ("", "off", "GB/s in", "GB/s out"), rows, notes)


def budget(sizes: dict[str, float]) -> Table:
    """Return the table of what three full checkpoints and the weights of five take, beside eight full ones."""
    eight, full = 8 * sizes[FULL], sizes[FULL]
    packed, best = (sizes[name] for name in BOTH)
    found = [
        Target("last 3 full + best 5 weights ÷ 8 full", (3 * full + 5 * sizes[WEIGHTS]) / eight, 0.59),
        Target("the same with weights in bf16", (3 * full + 5 * sizes[BF16]) / eight, 0.49),
        Target("the same, compressed, after the run", (3 * packed + 5 * best) / eight, 0.39),
    ]
    note = "While it goes on, a run resumes from the newest full checkpoint, which is native; the last figure is then"
    return Target.table("Contents: room", found, [f"{note} {(full + 2 * packed + 5 * best) / eight:.3f}."])


def codec_targets(results: list[dict]) -> list[Target]:
    found = []
    by = {(r["data"], r["codec"]): r for r in results if "off" in r}
    for data, kind in {"weights fp32": "fp32", "weights fp32, .keras": "fp32", "weights bf16": "bf16"}.items():
        ours, theirs = by.get((data, OURS), {}), by.get((data, ZIPNN), {})
        relative = (1 - ours["off"]) / (1 - theirs["off"]) if ours and theirs else None
        found.append(Target(f"{data}: part that is taken off", ours.get("off"), OFF[kind], at_least=True))
        found.append(Target(f"{data}: bytes ÷ zipnn's", relative, 1.01))
        found += [Target(f"{data}: GB/s {way}", ours.get(way), least, at_least=True) for way, least in SPEEDS.items()]
    return found


def lost_table(results: list[dict]) -> tuple[Table, list[Target]]:
    """Return the table of the time that saves cost, and the targets."""
    mine = [result for result in results if "way" in result]
    seconds = {way: Spread.of([r["seconds"] for r in mine if r["way"] == way]) for way in {r["way"]: 0 for r in mine}}
    if not mine:
        return Table("Contents: time lost", ("",), []), []
    count, alone = mine[0]["saves"], seconds["no saves"].median
    lost = {way: (found.median - alone) / count for way, found in seconds.items()}
    rows = [(way, found, mine[0]["steps"] / found.median, lost[way] * 1000) for way, found in seconds.items()]
    columns = ("", "s", "steps/s", "ms lost per save")
    native = lost["saves, native"]
    relation = lost["saves, compressed"] / native if native > 0 else None
    judged = [Target("ms of training lost per save, compressed ÷ native", relation, 2)]
    return Table(f"Contents: time lost, a save after each {EVERY} steps", columns, rows), judged


def tables(quick: bool) -> list[Table]:
    results = engines.run("contents", [engines.LIGHTNING, KERAS], *(["--quick"] if quick else []))
    made, targets = [], []
    for name, where in ((engines.LIGHTNING, "Lightning"), (KERAS, f"Keras on {KERAS}")):
        table, sizes = contents_table(where, [result for result in results if result["engine"] == name])
        made.append(table)
        if name == engines.LIGHTNING:
            made.append(budget(sizes))
    made += [codec_table(data, results) for data in {r["data"]: 0 for r in results if "data" in r}]
    lost, judged = lost_table(results)
    targets = [*codec_targets(results), *judged]
    return [*made, lost, Target.table("Contents: targets", targets)]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
