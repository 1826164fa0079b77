"""A script that runs rows on one engine, in forks of this process: ``ENGINE SEED ROW RUNS [ROW RUNS ...]``.

It writes one line of JSON for each row: its outcome, or ``{"row": ..., "error": ...}``.
"""

import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.system.soak.harness import soak
from tests.system.soak.rows import BY_NAME


def main(engine, seed, *wanted):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, so that temporary files are removed
    if engine != "lightning":
        os.environ["KERAS_BACKEND"] = engine
    trainings = importlib.import_module(
        "tests.system.soak.lightning_rows" if engine == "lightning" else "tests.system.soak.keras_rows"
    ).TRAININGS
    memory = Path("/dev/shm")
    for name, runs in zip(wanted[::2], wanted[1::2], strict=True):
        place = Path(tempfile.mkdtemp(prefix="soak-", dir=memory if memory.is_dir() else None))
        try:
            line = asdict(soak(BY_NAME[name], engine, trainings[name], int(runs), int(seed), place))
        except Exception as error:
            line = {"row": name, "error": f"{name} on {engine}, seed {seed}: {error}"}
        finally:
            shutil.rmtree(place, ignore_errors=True)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
