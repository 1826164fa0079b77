"""The command ``ckpt diff``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StoreError, listed
from ..formats.packed.opened import native_path
from ..formats.packed.suffix import is_split
from ..record import Record
from ..store.condition import check_exists
from ..store.digest import size_on_disk
from ..units import rough_size
from . import cells, options, table
from .differing_facts import Sections, differing, plain, word
from .local_path import LocalPath
from .output import say
from .records import Listing

if TYPE_CHECKING:
    from ..formats.inside import WeightOnDisk
    from ..formats.weight_change import Change

_SHOWN = 20  # entries
_KINDS = ("added", "removed", "reshaped", "changed", "unchanged")


@dataclass(frozen=True)
class _Side:
    path: Path
    record: Record | None


@click.command()
@click.argument("which", nargs=-1, metavar="[RUN_DIR] A B")
@click.option("--all", "everything", is_flag=True, help="List all entries, also those that have not changed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(which: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Compare two checkpoints: facts, metrics, hyperparameters, and how much each weight has changed.

    A and B are two files; or, after RUN_DIR, an id, a step, a file, a tag, or one of last, best and final. There, one
    may also be the path of a file elsewhere. The weights are read from the disk; no model is built, and no code in the
    files runs. "relative" is the L2 norm of the difference, divided by that of A; "largest" is the largest absolute
    difference. Values are compared whatever their types are, such as bfloat16 with float32.
    """
    sides = _sides(which)
    with ExitStack() as opened:
        a, b = (opened.enter_context(_look(opened.enter_context(native_path(side.path)))) for side in sides)
        if a.layout != b.layout:
            raise StoreError(
                f"{sides[1].path}: is {b.layout}, but {sides[0].path} is {a.layout}, so their weights cannot be "
                "compared; expected two files of one kind"
            )
        if not as_json and sides[0].path.samefile(sides[1].path):
            say(f"{which[-2]} and {which[-1]} are the same checkpoint: {(sides[0].record or sides[0]).path}")
            return
        from ..formats.weight_change import changes  # here, because importing numpy is slow

        found = sorted(changes(a.weights, b.weights), key=_rank)
        sections = differing(sides[0].record, a, sides[1].record, b)
    if as_json:
        options.echo_json(_as_json(sides, sections, found))
        return
    for letter, side in zip("AB", sides, strict=True):
        say(f"{letter}: {side.path}" + (f" ({rough_size(size_on_disk(side.path))})"))
    for title, values in sections.items():
        if values:
            click.echo()
            table.print_rows([{title: name, "A": word(x), "B": word(y)} for name, (x, y) in values.items()])
    click.echo()
    _print_changes(found, everything)


def _sides(which: tuple[str, ...]) -> tuple[_Side, _Side]:
    """Return the two checkpoints that are meant."""
    paths = [LocalPath().convert(name, None, None) for name in which]
    if len(which) == 3:
        manifest = options.open_manifest(paths[0])
        listing = Listing(manifest, options.policy_of(None, manifest))
        first, second = (_side_in(listing, name, path) for name, path in zip(which[1:], paths[1:], strict=True))
        return first, second
    if len(which) != 2 or (paths[0].is_dir() and not paths[1].exists()):
        raise StoreError(
            f"diff: got {listed([repr(name) for name in which]) or 'nothing'}; expected two checkpoints, as in "
            "`ckpt diff runs/a best last` or `ckpt diff a.ckpt b.ckpt`"
        )
    return _side_of(paths[0]), _side_of(paths[1])


def _side_in(listing: Listing, name: str, path: Path) -> _Side:
    """Return a checkpoint of a run; of another one, if this run has none of that name, and it is the path of a file."""
    try:
        record = listing.find(name)
    except StoreError:
        if path.is_file() or is_split(path):
            return _side_of(path)
        raise
    check_exists(record)
    return _Side(record.path, record)


def _side_of(path: Path) -> _Side:
    """Return the checkpoint in a file, with its record if it is one of a run directory."""
    if not path.exists():
        raise StoreError(
            f"{path}: no such file; expected two checkpoints, or a run directory and two checkpoints in it"
        )
    if options.is_checkpoint(path):
        manifest, name = options.locate(path, None)
        listing = Listing(manifest, options.policy_of(None, manifest))
        try:
            return _Side(path, listing.find(name))
        except StoreError:  # a file beside the run's own
            pass
    return _Side(path, None)


def _look(path: Path) -> Any:
    """Open a file, whatever its suffix is."""
    from ..formats import format_of, format_within

    if path.is_dir():
        raise StoreError(f"{path}: is a directory; expected a single file: sharded checkpoints cannot be compared")
    form = format_of(path) or format_within(path)
    if form is None or form.look is None:
        raise StoreError(f"{path}: is no checkpoint; expected a .ckpt, .keras, .weights.h5 or .h5 file")
    return form.look(path)


def _rank(change: Change) -> tuple[int, float, float]:
    """Return the place of a change: first what has no counterpart, then by the relative change."""
    if change.kind in _KINDS[:3]:
        return _KINDS.index(change.kind) - 3, 0.0, 0.0
    return 0, -change.relative, -change.largest


def _print_changes(changes: Sequence[Change], everything: bool) -> None:
    """Print one line for each entry that has changed, and one line about all of them."""
    from ..formats.weight_change import total  # here, because importing numpy is slow

    counts = Counter(change.kind for change in changes)
    listed = changes if everything else [change for change in changes if change.kind != "unchanged"][:_SHOWN]
    if listed:
        table.print_rows([_row(change) for change in listed])
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind])
    norm, largest = total(changes)
    say(f"{cells.count(len(changes), 'weight')}: {kinds}")
    if counts["changed"]:
        say(f"together: relative {cells.number(norm)}, largest {cells.number(largest)}")
    left = len(changes) - counts["unchanged"] - len(listed)
    if left > 0:
        say(f"{left} more have changed; --all lists them")


def _row(change: Change) -> dict[str, str]:
    entry, numbers = change.entry, change.kind in ("changed", "unchanged")
    return {
        "relative": cells.number(change.relative) if numbers else "",
        "largest": cells.number(change.largest) if numbers else "",
        "change": "" if change.kind == "changed" else change.kind,
        "dtype": _both(change, lambda entry: entry.dtype),
        "shape": _both(change, lambda entry: str(list(entry.shape))),
        "weight": f"{change.name} ({entry.layer})" if entry.layer else change.name,
    }


def _both(change: Change, fact: Callable[[WeightOnDisk], str]) -> str:
    """Return a fact of an entry, or both where it differs."""
    found = dict.fromkeys(fact(entry) for entry in (change.before, change.after) if entry is not None)
    return " -> ".join(found)


def _as_json(sides: Sequence[_Side], sections: Sections, changes: Sequence[Change]) -> dict[str, Any]:
    from ..formats.weight_change import total  # here, because importing numpy is slow

    norm, largest = total(changes)
    return {
        **{letter: str(side.path) for letter, side in zip("ab", sides, strict=True)},
        **{
            f"{title}s": {name: [plain(x), plain(y)] for name, (x, y) in pairs.items()}
            for title, pairs in sections.items()
        },
        "relative": _number(norm),
        "largest": _number(largest),
        "weights": [
            {
                "name": change.name,
                "layer": change.entry.layer,
                "change": change.kind,
                "relative": _number(change.relative),
                "largest": _number(change.largest),
                "dtype": [entry.dtype if entry is not None else None for entry in (change.before, change.after)],
                "shape": [list(entry.shape) if entry is not None else None for entry in (change.before, change.after)],
            }
            for change in changes
        ],
    }


def _number(value: float) -> float | str | None:
    """Return what JSON can hold: NaN, which means that there is no such number, becomes null."""
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)
