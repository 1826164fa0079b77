"""The command ``ckpt mirror check``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import CkptError, StoreError, VerifyError, first_line
from ..mirrors.catalog import Entry
from ..mirrors.check import Compared, Fault, Finding, compare, confirmed, litter, sample, wrong_digest
from ..mirrors.cleaning import clean as cleaned
from ..mirrors.cleaning import old, store_time
from ..mirrors.notes import Notes
from ..mirrors.reading_back import read_back
from ..mirrors.recorded import place_of
from ..mirrors.survey import Survey, survey
from ..policy.mirror import Mirror
from ..remote.counted import Counted
from ..remote.object_store import ObjectStore
from ..store.manifest import Manifest
from ..units import as_seconds, rough_size
from . import cells, options, places
from .output import say
from .progress import progress_bar
from .wishes import all_mirrors, former_mirrors

_FOREVER = float("inf")


def _share(ctx: click.Context, param: click.Parameter, given: str | None) -> float:
    if given is None:
        return 0.0
    try:
        share = float(given.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise click.UsageError(f"--read-data-subset: got {given!r}; expected a share of the checkpoints, such as 5%")
    return share


def _age(ctx: click.Context, param: click.Parameter, given: str) -> float:
    return as_seconds(float(given) if given.isdecimal() else given, "--older-than")


@click.command()
@click.argument("place", type=places.AnyPlace(), metavar="URL|RUN_DIR")
@click.option(
    "--read-data-subset", "share", metavar="SHARE", callback=_share,
    help="Also read this share of the checkpoints, such as 5%, and compare their digests.",
)  # fmt: skip
@click.option("--clean", "clean", is_flag=True, help="Delete what no checkpoint needs.")
@click.option(
    "--older-than", "age", metavar="AGE", default="24h", show_default=True, callback=_age,
    help="What may be deleted at the earliest; younger things may belong to an upload that goes on.",
)  # fmt: skip
@options.as_json
@options.config
@places.storage_options
def check(
    place: Path | Mirror,
    share: float,
    clean: bool,
    age: float,
    as_json: bool,
    config: Path | None,
    storage_options: Mapping[str, Any],
) -> None:
    """Check that a mirror holds what it says, without downloading it.

    Compares each object with the checksum of the store, if it has one, and with its size otherwise. Finds missing and
    damaged objects, entries that do not count because another process had taken the right to write, objects that no
    entry names, and uploads that were not finished. RUN_DIR stands for all mirrors of a run directory. --clean deletes
    what is left over and older than --older-than, by the clock of the store; it deletes nothing else, and no upload
    that RUN_DIR can continue. The exit status is 1 when something is wrong.
    """
    wrong, several = 0, isinstance(place, Path)
    for mirror, manifest in _mirrors(place, config):
        try:
            wrong += _checked(
                places.bare(mirror, storage_options), _noted(manifest), share, age, clean=clean, as_json=as_json
            )
        except CkptError as error:
            if not several:
                raise
            is_former = manifest and place_of(mirror.url) in former_mirrors(manifest, config)
            wrong += not is_former
            end = "; it was a mirror of an earlier start, and is none any more" if is_former else ""
            say(f"Warning: {first_line(error)}{end}", err=True)
    raise SystemExit(1 if wrong else 0)


def _checked(
    bare: ObjectStore, noted: Callable[[str], Collection[str]], share: float, age: float, *, clean: bool, as_json: bool
) -> int:
    """Check one mirror, say what is wrong, and return how much that is.

    Args:
        bare: Its store.
        noted: Returns the keys of the uploads that go on, given the URL of the store.
        share: The share of the checkpoints to read.
        age: Seconds before which nothing is deleted.
        clean: Whether to delete what is left over.
        as_json: Whether to print JSON.
    """
    store = places.patient(bare)
    found, compared = survey(store), Compared()
    findings = [*compare(store, found, compared)]
    known = {one.key for one in findings}
    readable = [entry for entry in found.catalog.entries if not known & {part.key for part in entry.parts}]
    findings += _read(bare, sample(readable, share), compared)
    findings = [*confirmed(store, findings), *litter(found)]
    now = store_time(store, time.time()) if clean else time.time()
    may = old(findings, found, _FOREVER if age == 0 else now - age, noted(store.url))
    gone, hit = cleaned(store, found, may) if clean else ([], [])
    left = [one for one in findings if one not in gone]
    young = [one for one in left if one.kind.is_litter and one not in may]
    wrong = len(left) - len(young) + len(hit)
    _show(store.url, findings, gone, young, as_json=as_json)
    for key in hit:
        problem = "was deleted in the moment in which a writer named it; check again"
        say(f"Warning: {store.url}/{key}: {problem}", err=True)
    _sum_up(store.url, found, compared, wrong, as_json=as_json)
    return wrong


def _noted(manifest: Manifest | None) -> Callable[[str], Collection[str]]:
    """Return what tells the uploads that a run directory can continue, by the URL of a store."""
    if manifest is None:
        return lambda url: ()
    private = manifest.layout.private
    return lambda url: Notes(private, url).uploads


def _mirrors(place: Path | Mirror, config: Path | None) -> Iterator[tuple[Mirror, Manifest | None]]:
    """Yield the mirrors to check, each with the manifest of its run directory if that was given."""
    if isinstance(place, Mirror):
        yield place, None
        return
    if not os.path.lexists(place):
        raise StoreError(f"{place}: does not exist; expected a run directory, or the folder or URL of a mirror")
    manifest = options.open_manifest(place)
    mirrors = all_mirrors(manifest, config)
    if not mirrors:
        raise StoreError(f"{place}: has no mirror; expected a run directory with mirrors, or the URL of a mirror")
    for one in mirrors:
        yield one, manifest


def _read(bare: ObjectStore, chosen: Sequence[Entry], compared: Compared) -> Iterator[Finding]:
    """Read checkpoints, and yield those that are damaged."""
    with progress_bar(sum(entry.record.size for entry in chosen)) as (advance, _):
        store = places.patient(Counted(bare, advance))
        for entry in chosen:
            compared.by_digest += 1
            try:
                read_back(store, entry)
            except VerifyError as error:
                yield wrong_digest(entry, error)


def _show(url: str, findings: list[Finding], gone: list[Finding], young: list[Finding], *, as_json: bool) -> None:
    for one in findings:
        if as_json:
            facts = {"url": url, "kind": one.kind.value, "key": one.key, "problem": one.problem}
            options.echo_json({**facts, "deleted": one in gone, "wrong": one not in gone and one not in young})
            continue
        end = ""
        if one in gone:
            end = "; deleted"
        elif one in young:
            end = "; stays, because an upload may still need it"
        say(f"{one.kind.value}: {url}/{one.key}: {one.problem}{end}")
    if not as_json and any(one.kind is Fault.UNREADABLE for one in findings):
        say(f"{url}: an entry cannot be read, so it is not known what it names, and no bytes are deleted", err=True)


def _sum_up(url: str, found: Survey, compared: Compared, wrong: int, *, as_json: bool) -> None:
    size = sum(part.size for entry in found.catalog.entries for part in entry.parts)
    if as_json:
        options.echo_json({
            "url": url, "checkpoints": len(found.catalog.entries), "size": size, "by_checksum": compared.by_checksum,
            "by_size": compared.by_size, "by_digest": compared.by_digest, "problems": wrong,
        })  # fmt: skip
        return
    ways = f"{compared.by_checksum} compared by checksum, {compared.by_size} by size"
    read = f", {cells.count(compared.by_digest, 'checkpoint')} read" if compared.by_digest else ""
    what = cells.count(wrong, "problem") if wrong else "nothing is wrong"
    count = cells.count(len(found.catalog.entries), "checkpoint")
    say(f"{url}: {count}, {rough_size(size)}: {ways}{read}: {what}")
