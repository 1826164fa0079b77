"""The command ``ckpt du``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..policy.contents_order import held
from ..record import ALIASES, Record
from ..run.manual_pruning import order_of_removal
from ..store.extents import saved_bytes
from ..units import rough_size
from . import options, table
from .output import say
from .records import Listing

Groups = Mapping[str, Mapping[str, Sequence[Record]]]


@click.command()
@options.run_dir
@click.option("--what-next", "next_to_go", is_flag=True, help="List what would be deleted to make room, in order.")
@options.as_json
@options.config
def du(run_dir: Path, next_to_go: bool, as_json: bool, config: Path | None) -> None:
    """Show how much room the checkpoints of a run take.

    Shows the bytes of each rule that keeps checkpoints, of full checkpoints and of weights, and of each link. A
    checkpoint that several rules keep counts in each of them, but only once in the total. If the file system lets equal
    tensors of several checkpoints share their blocks, a line "shared" says by how much less room that takes. With
    --what-next, lists the checkpoints in the order in which they would be deleted to make room, beginning with those
    that no rule keeps; those that are not listed are never deleted. While a metric that ranks them was never logged,
    training deletes none, and a line says so.
    """
    manifest = options.open_manifest(run_dir)
    if next_to_go:
        _list_order(Listing(manifest, options.required_policy(config, manifest)), run_dir, as_json=as_json)
        return
    listing = Listing(manifest, options.policy_of(config, manifest))
    limit = listing.view.max_total_size
    found = [record for record in manifest.live() if record.id not in listing.missing]
    groups, total = _groups(listing, found), sum(record.size for record in found)
    if as_json:
        sizes: dict[str, Any] = {by: {name: _extent(of) for name, of in group.items()} for by, group in groups.items()}
        sizes |= {"total": _extent(found), "shared": saved_bytes(record.path for record in found)}
        options.echo_json({**sizes, "max_total_size": limit, "directory": _bytes_below(run_dir)})
    elif not found:
        say(f"{run_dir}: no checkpoint yet")
    else:
        rows = [_row(by, name, of) for by, group in groups.items() for name, of in group.items()]
        own = sum(record.size for record in listing.view.records())  # max_total_size is that of the newest run
        share = "" if limit is None else f"; of max_total_size={rough_size(limit)}, {own / limit:.0%} are used"
        last = {**_row("total", "", found), "size": f"{rough_size(total)}{share}"}
        folder = {"by": "directory", "name": "", "checkpoints": "", "size": rough_size(_bytes_below(run_dir))}
        table.print_rows([*rows, last, *_shared(found), folder])


def _groups(listing: Listing, records: Sequence[Record]) -> Groups:
    """Return the records of each rule, each kind of contents and each link."""
    rules: dict[str, list[Record]] = {}
    contents: dict[str, list[Record]] = {}
    links: dict[str, list[Record]] = {}
    for record in records:
        for reason in listing.kept.get(record.id, ()):
            name = re.sub(r" \(#\d+\)", "", reason)  # the place in a ranking
            (links if name in ALIASES else rules).setdefault(name, []).append(record)
        contents.setdefault(str(held(record)), []).append(record)
    return {"rule": rules, "contents": contents, "link": links}


def _row(by: str, name: str, records: Sequence[Record]) -> dict[str, str]:
    size = rough_size(sum(record.size for record in records))
    return {"by": by, "name": name, "checkpoints": str(len(records)), "size": size}


def _shared(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return the row that says by how much less room the checkpoints take, because they share blocks."""
    saved = saved_bytes(record.path for record in records)
    return [{"by": "shared", "name": "", "checkpoints": "", "size": f"-{rough_size(saved)}"}] if saved else []


def _extent(records: Iterable[Record]) -> dict[str, int]:
    sizes = [record.size for record in records]
    return {"checkpoints": len(sizes), "size": sum(sizes)}


def _list_order(listing: Listing, run_dir: Path, *, as_json: bool) -> None:
    if why := listing.why_nothing_goes:
        say(f"{run_dir}: {why}", err=as_json)
        return
    left = sum(record.size for record in listing.view.records())
    rows = []
    for record in order_of_removal(listing.view):
        left -= record.size
        facts: dict[str, Any] = {"id": record.id, "file": record.file, "size": record.size, "left": left}
        if as_json:
            options.echo_json(facts)
        reasons = "; ".join(listing.kept.get(record.id, ()))
        rows.append({
            "id": str(record.id), "file": record.file, "size": rough_size(record.size), "left": rough_size(left),
            "kept because": reasons,
        })  # fmt: skip
    if rows and not as_json:
        table.print_rows(rows)
    elif not as_json:
        say(f"{run_dir}: nothing may be deleted: all checkpoints are pinned, tagged, or named by a link")


def _bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder, without following links."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # a training run has deleted it
                continue
    return size
