"""Runs rows on one engine, in forks of this process, which only imports it: ``ENGINE SEED ROW RUNS [ROW RUNS ...]``.

Writes one line of JSON for each row: its outcome, or ``{"row": ..., "error": ...}``.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

engine, seed, *wanted = sys.argv[1:]
if engine == "lightning":
    from soak.lightning_rows import TRAININGS
else:
    os.environ["KERAS_BACKEND"] = engine
    from soak.keras_rows import TRAININGS

from soak.harness import soak
from soak.rows import BY_NAME

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
memory = Path("/dev/shm")
for name, runs in zip(wanted[::2], wanted[1::2], strict=True):
    place = Path(tempfile.mkdtemp(prefix="soak-", dir=memory if memory.is_dir() else None))
    try:
        line = asdict(soak(BY_NAME[name], engine, TRAININGS[name], int(runs), int(seed), place))
    except Exception as error:
        line = {"row": name, "error": f"{name} on {engine}, seed {seed}: {error}"}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(line), flush=True)
