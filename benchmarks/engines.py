"""The measuring processes: one per framework and backend, which forks a fresh process for each measurement.

No measurement inherits the memory, allocator caches or threads of another one, and each framework is imported once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

from .report import Table
from .subject import NotInstalled

ROOT = Path(__file__).resolve().parent.parent
LIGHTNING, GPU = "lightning", "lightning-gpu"
KERAS = ("tensorflow", "torch", "jax")
LIMIT_SECONDS = 900  # for one measurement; a longer one is ended, and its row says so
WORK = 4  # matrix products in a step that keeps all cores busy


def scratch() -> tempfile.TemporaryDirectory:
    """Return a temporary folder on the disk of the repository."""
    return tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-")


def has_gpu() -> bool:
    """Return whether torch finds a GPU.

    Asks in a new process, because the forks of a process that has initialized CUDA cannot use it.
    """
    code = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def forked(labels: Mapping[str, object], job: Callable[[Path], Mapping[str, object]], folder: Path) -> None:
    """Run ``job(place)`` in a forked process and print its result, with the labels, as one line of JSON.

    ``place`` is an empty folder below ``folder``, removed afterwards. A failure becomes the ``error`` of the result.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    output = place.with_suffix(".json")
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_SECONDS)
        try:
            result = dict(job(place))
        except NotInstalled as error:
            result = {"missing": str(error)}
        except BaseException as error:
            traceback.print_exc()
            result = {"error": (str(error).strip() or type(error).__name__).splitlines()[0]}
        output.write_text(json.dumps(result))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ended = f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a result"
    result = json.loads(output.read_text()) if output.exists() else {"error": ended}
    output.unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    print(json.dumps({**labels, **result}), flush=True)


def run(script: str, engines: Iterable[str], *arguments: str) -> list[dict]:
    """Run ``python -m benchmarks.SCRIPT --engine NAME ...`` for each engine, one after the other.

    Returns:
        The results, each with its ``engine``.

    Raises:
        RuntimeError: The process of an engine failed as a whole.
    """
    results = []
    for engine in engines:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        if engine in KERAS:
            environment["KERAS_BACKEND"] = engine
        command = [sys.executable, "-m", f"benchmarks.{script}", "--engine", engine, *arguments]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            for line in process.stdout:
                if line.startswith("{"):
                    results.append({"engine": engine, **json.loads(line)})
                    labels = {
                        key: results[-1][key] for key in ("engine", "name", "size", "error") if key in results[-1]
                    }
                    print(f"  {script}: {labels}", file=sys.stderr, flush=True)
            if process.wait():
                errors.seek(0)
                raise RuntimeError(f"{script} --engine {engine} failed:\n{errors.read()[-3000:]}")
    return results


def framework(engine: str) -> tuple[Callable[..., None], ModuleType]:
    """Import the framework of an engine, and return its `fit` and the module with its subjects."""
    if engine in KERAS:
        from . import keras_fit, keras_subjects

        return keras_fit.fit, keras_subjects
    from . import lightning_fit, lightning_subjects

    if engine == GPU:
        lightning_subjects.LightningSubject.accelerator = "gpu"
    return lightning_fit.fit, lightning_subjects


def script(file: str, about: str, tables: Callable[[bool], list[Table]], engine: Callable[[str, bool], None]) -> None:
    """Run the command line of a benchmark.

    Args:
        file: The ``__file__`` of the script.
        about: The docstring of the script.
        tables: Measures and returns the tables; its argument asks for a quick run.
        engine: Measures one engine in this process; its arguments are the engine's name and whether to be quick.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small states and few rounds")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        engine(arguments.engine, arguments.quick)
        return
    command = f"python -m benchmarks.{Path(file).stem}{' --quick' if arguments.quick else ''}"
    for table in tables(arguments.quick):
        print(table.called(command).markdown(), flush=True)
