"""A hunt for files that hold more than one step: ``search.py ENGINE SAVES SEED [broken]``; it prints JSON.

ENGINE is ``lightning``, or one of Keras' backends. ``broken``: one tensor of each snapshot is not copied.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.system.torn_snapshots.pace import SPAN, Moments, Pace

CONTENTS = ("full", "weights")


def hunt(training: Any, contents: str, saves: int, seed: int) -> dict[str, Any]:
    """Train, save a number of times, and check each file."""
    moments, pace = Moments(saves, seed), Pace()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="hunt-", dir=memory if memory.is_dir() else None) as folder:
        records = training.train(Path(folder, "run"), contents, moments, pace)
        torn = []
        for record in records:
            found = training.steps_in(record.path, contents)
            if found != {record.step}:
                torn.append(f"{record.file}, of step {record.step}, holds {sorted(found)[:9]}")
    end = max(record.step for record in records)
    short = {step: span for step, span in pace.spans.items() if span < SPAN and step != end}  # nothing follows the end
    return {
        "saves": len(records),
        "on demand": sum("on demand" in record.reasons for record in records),
        "at epoch ends": sum("every 1 epoch" in record.reasons for record in records),
        "spans": sorted(span for step, span in pace.spans.items() if step != end),
        "short": short,
        "torn": torn,
    }


def main(engine: str, saves: int, seed: int, broken: bool) -> None:
    logging.getLogger("ckpt_callbacks").setLevel(logging.ERROR)
    if engine == "lightning":
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        from tests.system.torn_snapshots import lightning_training as training
    else:
        os.environ["KERAS_BACKEND"] = engine
        from tests.system.torn_snapshots import keras_training as training  # type: ignore[no-redef]
    if broken:
        from tests.system.torn_snapshots import broken as broken_snapshots

        broken_snapshots.alias(engine)
    for number, contents in enumerate(CONTENTS):
        found = hunt(training, contents, saves // len(CONTENTS), seed + number)
        print(json.dumps({"engine": engine, "contents": contents, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["broken"])
