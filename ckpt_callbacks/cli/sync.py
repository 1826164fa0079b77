"""The command ``ckpt sync``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import MirrorError, StoreError
from ..mirrors.places import check_places
from ..mirrors.syncing import Step, read_steps, steps_of, still_removable
from ..mirrors.wanted import reduced
from ..policy.mirror import Mirror
from ..units import rough_size
from . import cells, options, places
from .local_path import LocalPath
from .output import say
from .push import force, max_upload_rate, send_all
from .records import Listing
from .wishes import mirrors_of, required_wishes, with_rules

if TYPE_CHECKING:
    from ..mirrors.pushing import Pushing


@click.command()
@options.run_dir
@places.url
@click.option("--plan", "plan", type=LocalPath(), help="Write what would be sent and deleted to this file.")
@click.option("--apply", "apply", type=LocalPath(), help="Send and delete what this file lists; see --plan.")
@max_upload_rate
@force
@options.config
@places.storage_options
def sync(
    run_dir: Path,
    url: Mirror,
    plan: Path | None,
    apply: Path | None,
    max_upload_rate: str | None,
    force: bool,
    config: Path | None,
    storage_options: Mapping[str, Any],
) -> None:
    """Make a mirror hold what its rules keep.

    Lists what would be sent there, and what would be deleted there, and does neither; --plan writes the same to a file,
    and --apply carries that file out. A plan that does not fit any more is refused before anything is done. What no
    rule keeps is deleted there, unless it is pinned or tagged, or a run has continued from it; whether it is in the run
    directory does not matter. The exit status is 1 when something could not be done.
    """
    if plan is not None and apply is not None:
        raise click.UsageError("--plan and --apply: got both; expected one of them")
    from ..mirrors.pushing import Pushing, sends_there  # here, because importing it is slow

    manifest = options.open_manifest(run_dir)
    policy = options.policy_of(config, manifest)
    mirror = with_rules(url, mirrors_of(manifest, config), max_upload_rate=max_upload_rate)
    check_places("sync", [mirror], run_dir)
    store = places.bare(mirror, storage_options)
    wishes = required_wishes(run_dir, mirror, policy)
    local = Listing(manifest, policy).view.records()

    work = Pushing(store, manifest, local, wishes, mirror.max_upload_rate, force=force)
    if apply is None:
        _show(run_dir, store.url, steps_of(work), plan)
        return
    if sends_there(manifest, store.url):
        say(f"{run_dir}: training is running here, and sends its checkpoints to {store.url} itself; nothing is done")
        return
    steps = _read(work, apply)
    due = [step.due for step in steps if step.due is not None]
    failed = send_all(run_dir, store.url, work, due) if due else 0
    failed += _delete(store.url, work, steps)
    if not steps:
        say(f"{run_dir}: nothing to do: {apply} lists nothing")
    raise SystemExit(1 if failed else 0)


def _show(run_dir: Path, url: str, steps: Sequence[Step], plan: Path | None) -> None:
    """Print what would be done, or write it to a file."""
    sent = [step.due for step in steps if step.due is not None]
    doomed = [step.entry.record for step in steps if step.entry is not None]
    counts = f"{cells.count(len(sent), 'checkpoint')} to send, {len(doomed)} to delete"
    if plan is not None:
        plan.write_text("".join(f"{json.dumps(step.to_json())}\n" for step in steps))
        say(f"{plan}: {counts}")
        return
    for record, needed in sent:
        smaller = reduced(record, needed)
        size = rough_size(record.size) if smaller is None else f"{smaller} of {rough_size(record.size)}"
        say(f"{record.path}: would be sent to {url} ({size})")
    for record in doomed:
        say(f"{url}: {record.file}: would be deleted ({rough_size(record.size)})")
    say(f"{run_dir}: {counts}" if steps else f"{run_dir}: nothing to do: {url} holds what its rules keep")


def _read(pushing: Pushing, path: Path) -> list[Step]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; expected a file that --plan wrote") from error
    return read_steps(pushing, lines, str(path))


def _delete(url: str, pushing: Pushing, steps: Sequence[Step]) -> int:
    """Delete what a plan lists, say so, and return how many stay nevertheless."""
    planned = [step.entry for step in steps if step.entry is not None]
    entries = still_removable(pushing, steps)
    try:
        if entries:
            pushing.remove(entries)
    except MirrorError as error:
        pushing.close(error)
        raise
    pushing.close()
    for entry in planned:
        stays = "stays: something keeps it now, or it is gone"
        say(f"{url}: {entry.record.file}: {'deleted' if entry in entries else stays}")
    if planned:
        size = rough_size(sum(entry.record.size for entry in entries))
        say(f"{url}: {cells.count(len(entries), 'checkpoint')}, {size} freed")
    return len(planned) - len(entries)
