"""A run directory for programs that do not train, such as evaluation scripts and notebooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ConfigError, StoreError
from ..policy.policy import Policy
from ..record import Attempt, Record
from ..recovery.originals import hint_to_adopt
from ..store.manifest import Manifest
from ..store.obstruction import obstruction, resolved
from ..store.paths import expanded
from .no_best import NoBest
from .view import RunView

log = logging.getLogger("ckpt_callbacks")


class SavedRun:
    """The checkpoints of the newest run in a directory, ranked by the policy in its manifest.

    It only reads, takes no lock, and works while the run trains: each method reads what the run has written since. A
    checkpoint whose file is missing is left out, with a warning.

    Args:
        dirpath: The run directory.

    Attributes:
        dirpath: The run directory, as an absolute path.
        policy: The policy of the newest start of training when this object was created. None if the manifest does not
            hold it; ``best`` is then the checkpoint that the link on the disk points to.

    Raises:
        StoreError: ``dirpath`` is not a run directory.
    """

    def __init__(self, dirpath: str | PathLike[str]) -> None:
        self.dirpath = expanded("open_run: dirpath", dirpath).absolute()
        manifest = read_manifest(resolved(self.dirpath))
        self.policy = recorded_policy(manifest)
        self._view, self._no_best = RunView(manifest, self.policy), NoBest()
        self._refreshed()

    def __repr__(self) -> str:
        return f"<the run in {self.dirpath}>"

    def best(self) -> Record | None:
        """Return the best checkpoint (its file is ``.path``), or None if no value of the metric was finite so far.

        The log says why it is None.
        """
        found = self._existing(RunView.best)
        if found is None:
            self._no_best.explain(self._view)
        return found

    def last(self) -> Record | None:
        """Return the newest checkpoint, or None."""
        return self._existing(RunView.last)

    def final(self) -> Record | None:
        """Return the checkpoint of the state in which `fit` ended, or None."""
        return self._existing(RunView.final)

    def records(self) -> list[Record]:
        """Return all checkpoints of the run that exist, oldest first."""
        return self._refreshed().existing_records()

    def resume_path(self) -> str | None:
        """Return the newest checkpoint that a run can continue from and that passes verification, or None."""
        record = next(self._view.verified_resumable(), None)
        return str(record.path) if record else None

    def _existing(self, choose: Callable[[RunView], Record | None]) -> Record | None:
        view = self._refreshed()
        return view.existing(partial(choose, view))

    def _refreshed(self) -> RunView:
        self._view.refresh()
        self._view.report_problems()
        return self._view


def open_run(dirpath: str | PathLike[str]) -> SavedRun:
    """Return the checkpoints of the newest run in a directory. This needs neither the policy nor the framework.

    Args:
        dirpath: The run directory, in which training may be running.

    Raises:
        StoreError: It is not a run directory.
    """
    return SavedRun(dirpath)


def read_manifest(run_dir: Path) -> Manifest:
    """Return the manifest of a run directory.

    Raises:
        StoreError: The directory has none.
    """
    check_is_dir(run_dir)
    manifest = Manifest.read(run_dir)
    journal = manifest.layout.journal
    if not journal.exists():
        within = journal.relative_to(run_dir)
        runs = [path.parents[len(within.parts) - 1] for path in sorted(run_dir.glob(f"*/{within}"))]
        if runs:
            hint = f", such as {runs[0]}"
        elif adopt := hint_to_adopt(manifest):
            hint = f": {adopt}"
        else:
            hint = f"; if the manifest was lost, run `ckpt doctor {run_dir}`"
        raise StoreError(
            f"{run_dir}: is not a run directory: it has no manifest ({within}); expected a run directory{hint}"
        )
    return manifest


def check_is_dir(run_dir: Path) -> None:
    """Raise `StoreError` unless the path of a run directory is a directory."""
    if not run_dir.is_dir():
        raise StoreError(f"{run_dir}: {obstruction(run_dir) or 'does not exist'}; expected a run directory")


def recorded_budget(manifest: Manifest) -> int | None:
    """Return the bytes that the checkpoints of the newest training run may take together; None for no limit."""
    return manifest.attempts[-1].facts.get("max_total_size") if manifest.attempts else None


def recorded_policy(manifest: Manifest) -> Policy | None:
    """Return the policy that the newest training run had, or None if it is not known."""
    return policy_of_starts(manifest.attempts)


def policy_of_starts(attempts: Sequence[Attempt]) -> Policy | None:
    """Return the policy of the newest of some starts of training, or None if it is not known."""
    described: Any = attempts[-1].facts.get("policy") if attempts else None
    if described is None:
        return None
    from ..config import Config  # here, because importing the YAML reader is slow

    try:
        return Config.from_mapping(described).policy
    except ConfigError:  # it names a function of the user, or a newer version wrote it
        return None
