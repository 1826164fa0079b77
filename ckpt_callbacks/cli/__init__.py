"""The command ``ckpt``: what a run directory holds, why, and whether it is whole.

Standard output holds results alone; problems, progress and errors go to standard error. Exit status: 0 when all is
well, 1 when something is wrong (or nobody trains where a save is asked for), 2 for a wrong call.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import CkptError, ConfigError, StoreError, VerifyError
from ..record import Record
from ..recovery.doctor import examine
from ..recovery.rebuild import lost
from ..store.digest import verify as verify_record
from ..store.lock import FileLock
from ..store.manifest import Manifest
from . import table as text
from .view import View


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CkptError as error:
            failure = click.ClickException(str(error))
            failure.exit_code = 2
            raise failure from error


_run_dir = click.argument("run_dir", type=click.Path(path_type=Path))
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object for each checkpoint, one on a line.")
_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The YAML file with the policy; by default, the policy of the newest training.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ckpt-callbacks")
def main() -> None:
    """See what a run directory holds, why, and whether it is whole."""


@main.command()
@_run_dir
@_as_json
@click.option("--all", "everything", is_flag=True, help="Deleted checkpoints and all failed saves, too.")
@_config
def ls(run_dir: Path, as_json: bool, everything: bool, config: Path | None) -> None:
    """List the checkpoints of a run.

    For each one in RUN_DIR: what it is, why it was saved, and why it is kept.
    """
    manifest = _open(run_dir)
    view = View(manifest, _policy(config, manifest))
    records, hidden = view.listed(everything)
    if as_json:
        for record in records:
            _echo_json(record.to_json())
    elif records:
        text.print_table(view, records)
    if not records and not (as_json or hidden):
        click.echo(f"{run_dir}: no checkpoint yet")
    elif hidden and (sys.stdout.isatty() or not records) and not as_json:
        click.echo(click.style(f"{hidden}; --all shows them", dim=True))


@main.command()
@_run_dir
@click.argument("which")
@_as_json
@_config
def show(run_dir: Path, which: str, as_json: bool, config: Path | None) -> None:
    """Show all facts of one checkpoint.

    WHICH is its id, its file, a tag, or one of last, best and final.
    """
    manifest = _open(run_dir)
    view = View(manifest, _policy(config, manifest))
    record = view.find(which)
    if as_json:
        _echo_json(record.to_json())
    else:
        text.print_facts(view, record)


@main.command()
@_run_dir
@click.option("--json", "as_json", is_flag=True, help="One JSON object on a line: each save, then each rule.")
@_config
def log(run_dir: Path, as_json: bool, config: Path | None) -> None:
    """Show how often a run saved, why, and what that cost.

    Every save of RUN_DIR in order, failed and deleted ones included: for how long it blocked the training, and when it
    was durable. Below them, for each rule of the policy that goes by what a save costs, the interval that it chose.
    """
    manifest = _open(run_dir)
    policy = _policy(config, manifest)
    view = View(manifest, policy)
    costs, rules = view.costs(), policy.adaptive if policy else ()
    if as_json:
        for record in view.records:
            _echo_json(record.to_json())
        for rule in rules:
            interval = None if costs.expected is None else rule.pace.interval(costs.expected)
            _echo_json({"rule": repr(rule), "interval": interval, "because": rule.pace.explain(costs)})
        return
    if view.records:
        text.print_history(view.records)
    else:
        click.echo(f"{run_dir}: no checkpoint yet")
    for rule in rules:
        click.echo(rule.pace.explain(costs))


@main.command()
@_run_dir
@_as_json
@click.pass_context
def verify(ctx: click.Context, run_dir: Path, as_json: bool) -> None:
    """Compare every byte with the manifest.

    Reads all checkpoints of RUN_DIR again. The exit status is 1 when one of them, or a line of the manifest, is
    damaged.
    """
    manifest = _open(run_dir)
    records = manifest.live()
    checked, bad = 0, 0
    with _progress(sum(record.size for record in records)) as advance:
        for record in records:
            problem = _problem_of(record, advance)
            if problem is not None and _was_deleted(manifest, record):
                continue
            checked, bad = checked + 1, bad + (problem is not None)
            if as_json:
                _echo_json({**record.to_json(), "ok": problem is None, "problem": problem})
            else:
                click.echo(f"{click.style('ok', fg='green')}   {record.path}" if problem is None
                           else f"{click.style('BAD', fg='red')}  {problem}")  # fmt: skip
    unnamed = [repair.what for repair in lost(manifest)]
    for line in unnamed:
        click.echo(f"Warning: {line.partition(';')[0]}; call `ckpt doctor {run_dir}`", err=True)
    if not as_json:
        click.echo(f"{checked - bad} of {text.count(checked, 'checkpoint')} verified" if checked
                   else f"{run_dir}: no checkpoint yet")  # fmt: skip
        if manifest.problems:
            click.echo(f"{text.count(len(manifest.problems), 'line')} of the manifest damaged")
    ctx.exit(1 if bad or unnamed or manifest.problems else 0)


@main.command()
@_run_dir
def save(run_dir: Path) -> None:
    """Ask the training that runs in RUN_DIR for a checkpoint.

    It saves at its next step, whatever its policy says. The exit status is 1 when none runs there.
    """
    layout = _open(run_dir).layout
    lock = FileLock(layout.training_lock)
    if lock.try_acquire():
        lock.release()
        click.echo(f"{run_dir}: no training runs here", err=True)
        raise SystemExit(1)
    layout.save_now.touch()
    click.echo(f"{run_dir}: the training was asked to save at its next step")


@main.command()
@_run_dir
@click.option("--dry-run", is_flag=True, help="Only say what is wrong.")
@_config
def doctor(run_dir: Path, dry_run: bool, config: Path | None) -> None:
    """Check a run directory, and put right what is wrong.

    Reads all checkpoints of RUN_DIR again. A manifest that is lost or damaged is rebuilt from what the checkpoints say
    of themselves, what a killed training left half done is finished or undone, damaged checkpoints count no longer, and
    links are made anew. Not while a training runs there. The exit status of --dry-run is 1 when something is wrong;
    what follows from a repair, such as a link that moves, is only seen once it is made.
    """
    _check_is_dir(run_dir)
    found = 0
    try:
        for line in examine(run_dir, lambda manifest: _policy(config, manifest), repair=not dry_run):
            found += 1
            click.echo(line)
    except OSError as error:
        raise StoreError(f"{run_dir}: could not be put right: {error.strerror or error}") from error
    if not found:
        click.echo(f"{run_dir}: nothing is wrong")
    raise SystemExit(1 if found and dry_run else 0)


@main.command()
def schema() -> None:
    """Print the YAML file's JSON schema.

    Editors that know it complete and check a policy file while it is written.
    """
    from ..config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _check_is_dir(run_dir: Path) -> None:
    if not run_dir.is_dir():
        what = "is not a directory" if os.path.lexists(run_dir) else "does not exist"
        raise StoreError(f"{run_dir}: {what}; expected a run directory")


def _open(run_dir: Path) -> Manifest:
    _check_is_dir(run_dir)
    manifest = Manifest.read(run_dir)
    journal = manifest.layout.journal
    if not journal.exists():
        within = journal.relative_to(run_dir)
        runs = [path.parents[len(within.parts) - 1] for path in sorted(run_dir.glob(f"*/{within}"))]
        example = f", such as {runs[0]}" if runs else ""
        advice = f"if it was lost, call `ckpt doctor {run_dir}`"
        raise StoreError(f"{run_dir}: has no manifest ({within}); {advice}; expected a run directory{example}")
    for problem in manifest.problems:
        click.echo(f"Warning: {problem}", err=True)
    return manifest


def _policy(config: Path | None, manifest: Manifest) -> Any:
    """The policy of a file, or the one that the newest training had."""
    described = manifest.attempts[-1].facts.get("policy") if manifest.attempts else None
    if config is None and described is None:
        return None
    from ..config import Config  # here, because reading YAML is dear to import

    if config is not None:
        return Config.from_yaml(config).policy
    try:
        return Config.from_mapping(described).policy
    except ConfigError:  # it names a function of the user's, or a newer version wrote it
        return None


def _echo_json(facts: dict[str, Any]) -> None:
    click.echo(json.dumps(facts))


def _problem_of(record: Record, progress: Callable[[int], object]) -> str | None:
    try:
        verify_record(record, from_device=True, progress=progress)
    except VerifyError as error:
        return str(error)
    return None


def _was_deleted(manifest: Manifest, record: Record) -> bool:
    """A training that goes on may have deleted what was being read."""
    manifest.refresh()
    return not manifest.records[record.id].status.on_disk


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """A progress bar over so many bytes, where there is a terminal to draw it on."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    # Results go above the bar where both are on the terminal, and must not go there where they are piped elsewhere.
    above = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=above) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
