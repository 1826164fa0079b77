"""The command ``ckpt mirror status``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import CkptError
from ..mirrors.cost import Prices
from ..mirrors.notes import Notes
from ..mirrors.recorded import place_of
from ..mirrors.standing import Standing, standing, unread
from ..units import rough_size
from . import cells, options, places, table
from .local_path import LocalPath
from .output import say
from .records import Listing
from .wishes import all_mirrors, former_mirrors, wishes_of


@click.command()
@options.run_dir
@click.option("--prices", type=LocalPath(), help="A YAML file with the prices of stores; by default, list prices.")
@options.as_json
@options.config
@places.storage_options
def status(
    run_dir: Path, prices: Path | None, as_json: bool, config: Path | None, storage_options: Mapping[str, Any]
) -> None:
    """Show what the mirrors of a run hold, what they lack, and what they cost.

    The mirrors are those that the starts of training in RUN_DIR had, and those to which checkpoints were pushed.
    "missing" counts what the rules of the mirror want there, and is not there, or not any more. Money is for a month:
    for the bytes that are there now, and for requests at the rate at which this directory has sent them; "restore" is
    for one download of what a resume on an empty machine needs. The prices are list prices in the file prices.yaml of
    the package; copy it, edit it, and pass it with --prices. The exit status is 1 when a mirror cannot be read, or its
    last upload failed; those that the newest start of training has no longer do not count.
    """
    manifest = options.open_manifest(run_dir)
    policy, listed = options.policy_of(config, manifest), Prices(prices)
    listing, best = Listing(manifest, policy), policy.best_metric if policy is not None else None
    found, former = [], former_mirrors(manifest, config)
    for mirror in all_mirrors(manifest, config):
        is_former = place_of(mirror.url) in former  # with rules that nobody knows any more
        wishes = None if is_former else wishes_of(mirror, policy)
        try:
            store = places.opened(mirror, storage_options)
        except CkptError as error:
            one = unread(mirror.url, Notes(manifest.layout.private, mirror.url), error)
        else:
            notes = Notes(manifest.layout.private, store.url)
            one = standing(store, notes, listing.view.records(), wishes, best, listed)
        found.append(dataclasses.replace(one, is_former=is_former))
    if as_json:
        for one in found:
            options.echo_json({**dataclasses.asdict(one), "currency": listed.currency})
    elif found:
        _show(found, listed.currency)
    else:
        say(f"{run_dir}: has no mirror; `ckpt push {run_dir} URL` sends its checkpoints to one")
    raise SystemExit(1 if any((one.error or not one.is_read) and not one.is_former for one in found) else 0)


def _show(found: list[Standing], currency: str) -> None:
    rows = []
    for one in found:
        rows.append({
            "mirror": one.url,
            "records": "" if one.records is None else str(one.records),
            "size": "" if one.size is None else rough_size(one.size),
            "missing": _missing(one),
            "newest step": _newest(one),
            "sent": "" if one.sent is None else cells.ago(one.sent),
            "requests": f"{one.writes} writes, {one.reads} reads" if one.writes or one.reads else "",
            "per month": _money(one.monthly, currency),
            "restore": _money(one.restore, currency),
            "error": one.error,
        })  # fmt: skip
    table.print_rows(rows)
    for one in found:
        if one.price:
            say(f"price of {one.url}: {one.price}")


def _newest(one: Standing) -> str:
    if one.newest_step is None or one.newest_step == one.resume_step:
        return "" if one.newest_step is None else str(one.newest_step)
    return f"{one.newest_step} ({'weights alone' if one.resume_step is None else f'to resume: {one.resume_step}'})"


def _missing(one: Standing) -> str:
    if one.is_former:
        return "former mirror"
    if one.missing is None:
        return "not known" if one.is_read else ""
    most = "at most " if one.is_reduced else ""
    return f"{one.missing} ({most}{rough_size(one.missing_size or 0)})" if one.missing else "0"


def _money(amount: float | None, currency: str) -> str:
    if amount is None:
        return ""
    digits = f"{amount:.2f}" if amount >= 1 else f"{amount:.2g}" if amount else "0"
    return f"{digits} {currency}".rstrip()
