"""The command ``ckpt pull``."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import MirrorError, StoreError, VerifyError, first_line, printable
from ..mirrors.catalog import Catalog, Entry
from ..mirrors.restoring import listed_here
from ..mirrors.restoring import pull as pulled
from ..mirrors.wanted import newest_first
from ..policy.mirror import Mirror
from ..record import Record
from ..remote.counted import Counted
from ..remote.object_store import ObjectStore
from ..run.links import Links
from ..run.view import RunView
from ..store.command_lock import command_lock
from ..store.manifest import Manifest
from ..store.obstruction import obstruction, resolved
from ..store.private_files import require_own
from ..units import rough_size
from . import options, places
from .local_path import LocalPath
from .mirror_listing import MirrorListing
from .output import say
from .progress import progress_bar


@click.command()
@places.url
@click.argument("run_dir", required=False, metavar="[DIR]", type=LocalPath())
@click.option("--record", "which", metavar="WHICH", help="Download this checkpoint alone.")
@options.config
@places.storage_options
def pull(
    url: Mirror, run_dir: Path | None, which: str | None, config: Path | None, storage_options: Mapping[str, Any]
) -> None:
    """Download checkpoints from a mirror into a run directory.

    Downloads the newest checkpoint that a run can be resumed from, and the best one, into DIR, which is created if it
    does not exist; by default, it has the last name of URL. WHICH is an id, a step, a file, a tag, or one of last, best
    and final. Every byte is compared with the digest. If the newest one is damaged, an older one takes its place. What
    is in DIR already is not downloaded again. The exit status is 1 when what was asked for is damaged.
    """
    bare = places.bare(url, storage_options)
    store = places.patient(bare)
    catalog = places.catalog_of(store)
    policy = options.policy_of(config, catalog)
    listing = MirrorListing(store.url, catalog, policy)
    wanted = [listing.find(which)] if which is not None else newest_first(catalog)
    if not wanted:
        raise MirrorError(
            f"{store.url}: holds no checkpoint that a run can be resumed from; expected --record with one that "
            f"`ckpt ls {store.url}` lists"
        )
    target = run_dir if run_dir is not None else Path(re.split("[/:]", store.url.rstrip("/"))[-1])
    if places.is_mirror(target):
        raise StoreError(f"{target}: is a mirror; expected another directory, as in `ckpt pull {store.url} runs/a`")
    best = listing.best if which is None else None
    with _held(target) as manifest:
        _require_same_run(manifest, catalog, store.url)
        work = _Pull(bare, catalog, manifest)
        record = work.first(wanted)
        if record is not None and best is not None and best.id != record.id:
            work.first([listing.find("best")])
        if policy is not None:
            Links(target, RunView(manifest, policy)).move()
    raise SystemExit(0 if record is not None else 1)


class _Pull:
    """Downloads checkpoints into a run directory.

    Args:
        store: The mirror's store.
        catalog: What it holds.
        manifest: The manifest of the directory.
    """

    def __init__(self, store: ObjectStore, catalog: Catalog, manifest: Manifest) -> None:
        self._store, self._catalog, self._manifest = store, catalog, manifest

    def first(self, entries: Sequence[Entry]) -> Record | None:
        """Download the first of some checkpoints that is intact, unless it is here; None if all are damaged.

        Raises:
            MirrorError: The store does not give it now, or another checkpoint has its id here.
        """
        for entry in entries:
            try:
                return self._pulled(entry)
            except (FileNotFoundError, VerifyError) as error:
                say(f"Warning: {self._store.url}: {entry.record.file} is skipped: {first_line(error)}", err=True)
        return None

    def _pulled(self, entry: Entry) -> Record:
        if (here := listed_here(self._manifest, entry.record, self._store.url)) is not None:
            say(f"{here.path}: is here already")
            return here
        with progress_bar(entry.record.size) as (advance, show):
            store = places.patient(Counted(self._store, advance))
            record = pulled(store, entry, self._catalog, self._manifest)
            facts = (*record.words("step"), rough_size(record.size), "downloaded and verified")
            show(printable(f"{record.path}: {', '.join(facts)}"))
        return record


@contextlib.contextmanager
def _held(target: Path) -> Iterator[Manifest]:
    """Create a run directory if it does not exist, and hold it. If nothing comes into a new one, it goes again."""
    is_new, manifest = not os.path.lexists(target), Manifest(resolved(target))
    layout = manifest.layout
    with contextlib.ExitStack() as stack:
        try:
            require_own(layout)
            if is_new:
                stack.callback(_remove_if_empty, manifest, target)
            stack.enter_context(command_lock(layout, "ckpt pull"))
        except OSError as error:
            problem = obstruction(target) or f"cannot be written: {error.strerror or error}"
            raise StoreError(f"{target}: {problem}; expected a directory for checkpoints") from error
        manifest.refresh()
        yield manifest


def _remove_if_empty(manifest: Manifest, target: Path) -> None:
    if not manifest.live():
        shutil.rmtree(target, ignore_errors=True)


def _require_same_run(manifest: Manifest, catalog: Catalog, url: str) -> None:
    """Raise `StoreError` if a directory holds another run, whose checkpoints have the same ids."""
    here = {attempt.run for attempt in manifest.attempts} | {record.run for record in manifest.records.values()}
    if here and here.isdisjoint(catalog.runs):
        raise StoreError(
            f"{manifest.layout.dirpath}: holds another run, {min(here)}; expected an empty directory, or that of the "
            f"run in {url}"
        )
