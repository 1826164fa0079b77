"""The commands that protect a checkpoint from retention, or give it names: pin, unpin, tag and untag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError, cause_of
from ..policy.retention import KeepTagged
from ..record import ALIASES, Record, is_tag
from ..store.aliases import target_of
from ..store.condition import check_counts
from ..store.manifest import Manifest
from . import options
from .records import Listing

_TRIES = 5


def amend(run_dir: Path, which: str | None, facts_of: Callable[[Record], Mapping[str, Any]]) -> Record:
    """Change facts of one checkpoint, which a training run may be about to delete.

    Args:
        run_dir: The run directory, as `options.locate` takes it.
        which: The checkpoint, as `options.locate` takes it.
        facts_of: Returns the facts to change, given the record as it is.

    Raises:
        StoreError: The checkpoint does not exist, or cannot be changed.
    """
    try:
        for _ in range(_TRIES):  # a training run may delete what `best` or `last` named a moment ago
            manifest, name = options.locate(run_dir, which)
            found = Listing(manifest, options.policy_of(None, manifest)).find(name)
            record = manifest.amend(found.id, lambda now: facts_of(now) if now.status.on_disk else {})
            if record.status.on_disk or name not in ALIASES:
                break
    except OSError as error:
        raise StoreError(f"{run_dir}: cannot be written: {cause_of(error)}") from error
    check_counts(record)
    return record


def checked_tag(name: str, manifest: Manifest) -> str:
    """Return a tag.

    Args:
        name: The name that the user gave.
        manifest: The manifest of the run directory.

    Raises:
        StoreError: The name cannot be a tag.
    """
    dirpath, files = manifest.layout.dirpath, {record.file for record in manifest.records.values()}
    if name in files or (name and target_of(dirpath / name) in files):
        raise StoreError(f"{dirpath}: tag: got {name!r}, the name of a checkpoint's file; expected a name like release")
    if not is_tag(name):
        raise StoreError(
            f"tag: got {name!r}; expected a printable name, such as release, that is neither a number nor one of "
            f"{', '.join(ALIASES)}"
        )
    return name


def fate_of(run_dir: Path, record: Record, tag: str) -> str:
    """Return a remark if retention may delete a checkpoint in spite of its new tag; otherwise, an empty string."""
    if record.pinned:
        return ""
    policy = options.policy_of(None, options.open_manifest(run_dir))
    if policy is None:
        return f"; the policy is not known here: `ckpt pin {run_dir} {record.id}` keeps it in any case"
    if any(isinstance(rule, KeepTagged) and rule.tag == tag for rule in policy.keep.parts()):
        return ""
    return f"; no rule of the policy keeps it for that: `ckpt pin {run_dir} {record.id}` does"
