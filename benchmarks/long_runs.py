"""Long runs: the cost of a save, a start and `ckpt ls` after many saves, nearly all of which were deleted.

    python -m benchmarks.long_runs [--quick]

One run with `KeepLast(2)` saves tiny files; each save takes all steps of the commit protocol. At each mark, the run is
closed, measured, and resumed as a new process would resume it. The directory is in memory if possible, so that the
speed of the device does not hide what grows.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from ckpt_callbacks import Event, EventKind, Every, KeepLast, Policy
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.testing import FakeWriter

from . import engines
from .report import MB, Spread, Table, Target, ratio

MARKS = (1000, 20_000, 100_000)  # numbers of saves; the others are compared with the first one
QUICK = (300, 1500)
COMPARED = 300  # saves before a mark, of which the median is taken
POLICY = Policy(Every(steps=1), KeepLast(2))
SECONDS, GROWTH, MEMORY = 0.5, 1.2, 10.0  # the targets


def run_in(dirpath):
    return Run(POLICY, Settings(dirpath), suffix=".raw", framework="benchmark", name="benchmark")


def memory():
    """Return the memory of this process in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def resume(dirpath):
    """Do what `resume_path()` does."""
    run = run_in(dirpath)
    run.directory.repair_if_idle()
    assert next(run.view.verified_resumable(), None) is not None


def take(dirpath):
    """Open the directory as the beginning of a `fit` does."""
    run = run_in(dirpath)
    run.open()
    run.close()


def listed(dirpath):
    command = [sys.executable, "-m", "ckpt_callbacks.cli", "ls", str(dirpath)]
    subprocess.run(command, cwd=engines.ROOT, check=True, stdout=subprocess.DEVNULL)


def measured(dirpath, marks):
    """Save up to each mark, and yield the costs measured there."""
    writer, step = FakeWriter(), 0
    for mark in marks:
        run, recent, first, since = run_in(dirpath), deque(maxlen=COMPARED), step, time.perf_counter()
        run.open()
        if writer.embedded is not None:
            run.restore(writer.embedded.run)
        run.start(writer, step=step, epoch=0)
        while step < mark:
            step, begun = step + 1, time.perf_counter()
            run.observe(Event(EventKind.STEP_END, step=step, epoch=0))
            run.wait()
            recent.append(time.perf_counter() - begun)
        mean, held = (time.perf_counter() - since) / (step - first), memory()
        run.close()
        private = dirpath / ".run"
        sizes = [(private / name).stat().st_size / MB for name in ("manifest.jsonl", "history.jsonl")
                 if (private / name).exists()]  # fmt: skip
        yield {
            "saves": mark, "save ms": 1000 * statistics.median(recent), "min ms": 1000 * min(recent),
            "max ms": 1000 * max(recent), "mean ms": 1000 * mean, "journal": sizes[0],
            "history": sum(sizes[1:]), "memory": held, "resume": seconds(lambda: resume(dirpath)),
            "open": seconds(lambda: take(dirpath)), "ls": seconds(lambda: listed(dirpath)),
        }  # fmt: skip


def engine(name, quick):
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else engines.ROOT, prefix="bench-") as folder:
        for row in measured(Path(folder) / "run", QUICK if quick else MARKS):
            print(json.dumps(row), flush=True)


def tables(quick):
    rows = engines.run("long_runs", ("run",), *(["--quick"] if quick else []))
    shown = [
        (row["saves"], Spread(row["save ms"], row["min ms"], row["max ms"]), row["mean ms"], row["journal"],
         row["history"], row["memory"], row["resume"], row["open"], row["ls"])
        for row in rows
    ]  # fmt: skip
    columns = (
        "saves", "ms per save", "mean since the row above", "journal, MB", "history, MB", "memory, MB",
        "resume_path(), s", "opening the directory, s", "ckpt ls, s",
    )  # fmt: skip
    early, late = rows[0], rows[-1]
    after = f"Long runs, {late['saves']} saves"
    targets = [
        Target(f"{after}: a save ÷ an early one", ratio(late["save ms"], early["save ms"]), GROWTH),
        Target(f"{after}: seconds of resume_path()", late["resume"], SECONDS),
        Target(f"{after}: seconds to open the directory", late["open"], SECONDS),
        Target(f"{after}: seconds of ckpt ls", late["ls"], SECONDS),
        Target(f"{after}: MB of additional memory", late["memory"] - early["memory"], MEMORY),
    ]
    title = "Long runs: a run that keeps two checkpoints"
    return [Table(title, columns, shown), Target.table("Long runs: targets", targets)]


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
