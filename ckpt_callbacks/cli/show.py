"""The command ``ckpt show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..policy.contents_order import held
from ..record import Record
from ..units import rough_size, roughly
from . import cells, options, table
from .records import Listing


@click.command()
@options.run_dir
@options.which
@options.as_json
@options.config
def show(run_dir: Path, which: str | None, as_json: bool, config: Path | None) -> None:
    """Show all facts of one checkpoint.

    RUN_DIR and WHICH name the checkpoint: its id or step, its file, a tag, or one of last, best and final. The path of
    the checkpoint alone is enough.
    """
    manifest, name = options.locate(run_dir, which)
    listing = Listing(manifest, options.policy_of(config, manifest))
    record = listing.find(name)
    if as_json:
        options.echo_json(record.to_json())
    else:
        table.print_nested(_facts(listing, record))


def _facts(listing: Listing, record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "file": record.file,
        "path": record.path,
        "status": cells.status(record, missing=record.id in listing.missing),
        "error": record.error,
        "aliases": ", ".join(listing.aliases.get(record.id, ())),
        "tags": ", ".join(record.tags),
        "pinned": record.pinned,
        "step": cells.known(record, "step"),
        "epoch": cells.known(record, "epoch"),
        "saved": f"{cells.date(record)} ({cells.age(record)})" if record.wall else "",
        "training time": f"{record.time:.1f} s",
        "size": f"{rough_size(record.size)} ({record.size} bytes)",
        "digest": record.digest,
        "took": {name: roughly(seconds) for name, seconds in record.timings.items()},
        "contents": str(held(record)),
        "reduced": _reduced(record),
        "resumable": record.resumable,
        "finite": record.finite,
        "run": record.run,
        "attempt": record.attempt,
        "parent": record.parent,
        "saved because": list(record.reasons),
        "kept because": list(listing.kept.get(record.id, ())),
        "metrics": record.metrics,
        "scores": record.scores,
        "metadata": record.metadata,
    }


def _reduced(record: Record) -> dict[str, Any] | None:
    """Return what a reduction has noted, in words; None if nothing."""
    noted = record.reduced
    errors, dropped = noted.get("errors"), noted.get("dropped")
    found: dict[str, Any] = {}
    if errors:
        found["rounded"] = cells.count(errors["tensors"], "tensor")
        found["largest errors"] = {
            name: f"{absolute:.3g}, {share:.2g} of the largest value" for name, absolute, share in errors["worst"]
        }
    if dropped:
        found["dropped"] = f"{cells.count(dropped['tensors'], 'tensor')}, {rough_size(dropped['bytes'])}"
    names = {"out of range": "wider", "unknown names": "unknown", "base": "base", "reference": "reference"}
    return found | {name: noted[fact] for name, fact in names.items() if fact in noted} or None
