"""The command ``ckpt log``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..record import Record
from ..units import rough_size, roughly
from . import cells, options, table
from .output import say
from .records import Listing


@click.command()
@options.run_dir
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line: each save, then each rule.")
@options.config
def log(run_dir: Path, as_json: bool, config: Path | None) -> None:
    """Show how often a run saved, why, and what the saves cost.

    Lists every save of RUN_DIR in order, including failed and deleted ones: how long it blocked training, and when it
    was durable. Then shows the interval that each cost-based rule of the policy has chosen.
    """
    manifest = options.open_manifest(run_dir)
    policy = options.policy_of(config, manifest)
    listing = Listing(manifest, policy, everything=True)
    costs = listing.costs()
    paces = [(rule, rule.pace) for rule in (policy.adaptive if policy else ()) if rule.pace is not None]
    if as_json:
        for record in listing.records:
            options.echo_json(record.to_json())
        for rule, pace in paces:
            interval = None if costs.expected is None else pace.interval(costs.expected)
            options.echo_json({"rule": repr(rule), "interval": interval, "because": pace.explain(costs)})
        return
    if listing.records:
        table.print_rows([_row(listing, record) for record in listing.records], listing.records)
    else:
        say(f"{run_dir}: no checkpoint yet")
    for _, pace in paces:
        say(pace.explain(costs))


def _row(listing: Listing, record: Record) -> dict[str, str]:
    took = {name: roughly(seconds) for name, seconds in record.timings.items()}
    return {
        "id": str(record.id),
        "saved": _date(record) if record.wall else "",
        "step": cells.known(record, "step"),
        "epoch": cells.known(record, "epoch"),
        "blocked": took.get("blocked", ""),
        "durable": took.get("written", ""),
        "size": rough_size(record.size) if record.size else "",
        "status": cells.status(record, missing=record.id in listing.missing),
        "saved because": "; ".join(record.reasons),
        "error": record.error or "",
    }


def _date(record: Record) -> str:
    return cells.local_date(record) if sys.stdout.isatty() else cells.date(record)
