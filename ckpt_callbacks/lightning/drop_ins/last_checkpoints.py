"""The checkpoint that ``ckpt_path="last"`` stands for, among the files that ModelCheckpoint finds."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

from ...errors import CkptError, first_line
from ...formats import format_of
from ...run.run import Run
from ...run.view import RunView

log = logging.getLogger("ckpt_callbacks")


def intact(found: Collection[str], run: Run) -> set[str]:
    """Return those of the found files that pass verification; if none does, the newest other checkpoint that does.

    Args:
        found: The paths of the files that are called the last; at least one.
        run: A run of their directory.
    """
    run.directory.repair_if_idle()
    view = run.view
    good = {path for path in found if _is_intact(Path(path), view)}
    if good:
        return good
    newest = next(view.verified_resumable(), None)
    return set() if newest is None else {os.path.normpath(newest.path)}


def _is_intact(path: Path, view: RunView) -> bool:
    record = view.find(path)
    if record is not None:
        return next(view.verified([record]), None) is not None
    form = format_of(path)
    try:
        if form is not None:
            form.check(path, ())
    except (CkptError, OSError) as error:
        log.warning("skipping this checkpoint and trying an older one: %s", first_line(error))
        return False
    return True
