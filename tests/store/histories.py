"""Manifests some of whose records have moved to the history."""

from ckpt_callbacks import Status
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.manifest import Manifest
from tests.store.journals import record


def filled(dirpath, last=9):
    """Return a manifest whose last two records are live; the others were deleted."""
    manifest = Manifest(dirpath)
    manifest.start(Attempt("r", 1, None, 0.0))
    for id_ in range(1, last + 2):
        manifest.put(record(id_, run="r", status=Status.DELETED if id_ < last else Status.VERIFIED))
    return manifest


def compact(manifest):
    """Move every deleted record whose id is even."""
    manifest.compact(
        lambda: [r for r in manifest.records.values() if r.status is Status.DELETED and r.id % 2 == 0],
    )


def all_of(dirpath):
    return [(r.id, r.status.value) for r in all_records(Manifest.read(dirpath))]
