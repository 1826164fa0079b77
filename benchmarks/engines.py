"""Processes for measurements: one per framework and backend, forking a fresh one for each measurement.

So that no measurement inherits another's memory, caches of allocators or threads, and frameworks are imported once.
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

from measure import Table
from subject import NotInstalled

HERE = Path(__file__).resolve().parent
LIGHTNING, GPU = "lightning", "lightning-gpu"
KERAS = ("tensorflow", "torch", "jax")
LIMIT_SECONDS = 900  # for one measurement; it is ended then, and its row says so


def scratch() -> tempfile.TemporaryDirectory:
    """A folder on the repository's disk, removed when it is closed."""
    return tempfile.TemporaryDirectory(dir=HERE.parent, prefix=".bench-")


def has_gpu() -> bool:
    """Asks in a process of its own: a process that has initialised CUDA cannot fork users of it."""
    code = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def forked(labels: Mapping[str, object], job: Callable[[Path], Mapping[str, object]], folder: Path) -> None:
    """Runs ``job(place)`` in a forked process and prints its result, with the labels, as one line of JSON.

    ``place`` is an empty folder below ``folder``, removed afterwards. What goes wrong becomes the result's ``error``.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    said = place.with_suffix(".json")
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
        said.write_text(json.dumps(result))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ended = f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a result"
    result = json.loads(said.read_text()) if said.exists() else {"error": ended}
    said.unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    print(json.dumps({**labels, **result}), flush=True)


def run(script: str, engines: Iterable[str], *arguments: str) -> list[dict]:
    """Runs ``python script --engine NAME ...`` for each engine, one after the other.

    Returns:
        What they measured, each with its ``engine``. An engine that fails as a whole raises `RuntimeError`.
    """
    results = []
    for engine in engines:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        if engine in KERAS:
            environment["KERAS_BACKEND"] = engine
        command = [sys.executable, str(HERE / script), "--engine", engine, *arguments]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
            for line in process.stdout:
                if line.startswith("{"):
                    results.append({"engine": engine, **json.loads(line)})
                    said = {
                        key: value for key, value in results[-1].items() if key in ("engine", "name", "size", "error")
                    }
                    print(f"  {script}: {said}", file=sys.stderr, flush=True)
            if process.wait():
                errors.seek(0)
                raise RuntimeError(f"{script} --engine {engine} failed:\n{errors.read()[-3000:]}")
    return results


def framework(engine: str) -> tuple[Callable[..., None], ModuleType]:
    """The `fit` of an engine and the module with its subjects; imports its framework."""
    if engine in KERAS:
        import keras_fit
        import keras_subjects

        return keras_fit.fit, keras_subjects
    import lightning_fit
    import lightning_subjects

    if engine == GPU:
        lightning_subjects.LightningSubject.accelerator = "gpu"
    return lightning_fit.fit, lightning_subjects


def script(file: str, about: str, tables: Callable[[bool], list[Table]], engine: Callable[[str, bool], None]) -> None:
    """The command line of a benchmark.

    Args:
        file: The script's ``__file__``.
        about: Its docstring.
        tables: Measures and returns the tables; quickly, if asked.
        engine: Measures in this process, which has the name of an engine.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small states and few rounds")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        engine(arguments.engine, arguments.quick)
        return
    command = f"python benchmarks/{Path(file).name}{' --quick' if arguments.quick else ''}"
    for table in tables(arguments.quick):
        print(table.called(command).markdown(), flush=True)
