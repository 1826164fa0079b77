"""The command ``ckpt push``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import MirrorError, StoreError, VerifyError, first_line, printable
from ..mirrors.places import check_places
from ..mirrors.wanted import Wishes
from ..policy.contents import FULL
from ..policy.mirror import Mirror
from ..policy.retention import KeepAll
from ..store.condition import check_exists
from ..units import rough_size
from . import cells, options, places
from .output import say
from .progress import progress_bar
from .records import Listing
from .wishes import mirrors_of, required_wishes, with_rules

if TYPE_CHECKING:
    from ..mirrors.pushing import Due, Pushing

force = click.option("--force", is_flag=True, help="Write there although the run was continued elsewhere since.")
max_upload_rate = click.option("--max-upload-rate", metavar="RATE", help="Bytes per second, such as 10MB.")


@click.command()
@options.run_dir
@places.url
@click.option("--record", "which", metavar="WHICH", help="Send this checkpoint alone, whatever the rules say.")
@click.option("--all", "everything", is_flag=True, help="Send all checkpoints, whatever the rules say.")
@max_upload_rate
@force
@options.config
@places.storage_options
def push(
    run_dir: Path,
    url: Mirror,
    which: str | None,
    everything: bool,
    max_upload_rate: str | None,
    force: bool,
    config: Path | None,
    storage_options: Mapping[str, Any],
) -> None:
    """Send the checkpoints of a run to a mirror.

    Sends what the rules of the mirror keep, or those of the run's policy, newest first, and deletes nothing. WHICH is
    an id, a step, a file, a tag, or one of last, best and final. An upload that was interrupted goes on where it was.
    Works while training is running; if that training sends its checkpoints there itself, nothing is done. The exit
    status is 1 when a checkpoint could not be sent.
    """
    if which is not None and everything:
        raise click.UsageError("--record and --all: got both; expected one of them")
    from ..mirrors.pushing import Pushing, sends_there  # here, because importing it is slow

    manifest = options.open_manifest(run_dir)
    policy = options.policy_of(config, manifest)
    mirror = with_rules(url, mirrors_of(manifest, config), max_upload_rate=max_upload_rate)
    check_places("push", [mirror], run_dir)
    store = places.bare(mirror, storage_options)
    if sends_there(manifest, store.url):
        say(f"{run_dir}: training is running here, and sends its checkpoints to {store.url} itself; nothing is done")
        return
    listing = Listing(manifest, policy)
    if which is None:
        wishes = required_wishes(run_dir, mirror, policy, everything=everything)
    else:
        wishes = Wishes(KeepAll(), policy.best_metric if policy is not None else None, mirror.contents)

    work = Pushing(store, manifest, listing.view.records(), wishes, mirror.max_upload_rate, force=force)
    due = work.wanted()
    if work.lost:
        say(f"Warning: {store.url}: has lost {work.lost.files}; what is to be there is sent again", err=True)
    if which is not None:
        record = listing.find(which)
        check_exists(record)
        if work.holds(record):
            say(f"{record.path}: is at {store.url} already")
            return
        due = [(record, mirror.contents or FULL)]
    failed = send_all(run_dir, store.url, work, due)
    raise SystemExit(1 if failed else 0)


def send_all(run_dir: Path, url: str, work: Pushing, due: Sequence[Due]) -> int:
    """Send checkpoints, say so, and return how many could not be sent.

    Args:
        run_dir: The run directory.
        url: Where they go.
        work: Sends them.
        due: The checkpoints, and what is needed of each.
    """
    sent, failed = [], 0
    with progress_bar(sum(record.size for record, _ in due)) as (advance, show):
        work.moved = advance
        try:
            for record, needed in due:
                try:
                    entry = work.send((record, needed))
                except (FileNotFoundError, VerifyError, StoreError) as error:
                    failed += 1
                    say(f"Warning: {record.path}: is not sent: {first_line(error)}", err=True)
                    continue
                if entry is None:
                    show(printable(f"{record.path}: was deleted meanwhile, and is not sent"))
                    continue
                sent.append(entry.record.size)
                show(printable(f"{record.path}: sent to {url} ({rough_size(entry.record.size)})"))
            is_amended = work.amended()
        except MirrorError as error:
            work.close(error)
            raise
        work.close()
    if due:
        say(f"{run_dir}: {cells.count(len(sent), 'checkpoint')}, {rough_size(sum(sent))} sent to {url}")
    else:
        say(f"{run_dir}: nothing to send: {url} has all{', and its facts are up to date now' if is_amended else ''}")
    return failed
