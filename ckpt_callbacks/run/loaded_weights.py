"""The weights that a resume has loaded, which may hold NaN."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from .run import Run

log = logging.getLogger("ckpt_callbacks")


def name_nan(run: Run, path: str | Path, are_finite: Callable[[], bool]) -> None:
    """Log if the loaded weights hold NaN or infinity. Collective.

    The weights are read only if the record of their checkpoint does not tell: it was restored from its file, an older
    version wrote it, or the file belongs to another directory.

    Args:
        run: The run, whose directory is open.
        path: The checkpoint that was loaded.
        are_finite: Reads the loaded weights. All processes call it together.
    """
    if run.processes.broadcast(run.view.was_searched(path)) or are_finite() or not run.processes.is_primary:
        return
    log.warning(
        "%s: the loaded weights hold NaN or infinity, and training continues from them; to continue from good weights, "
        "pass the path of an earlier checkpoint", path,
    )  # fmt: skip
