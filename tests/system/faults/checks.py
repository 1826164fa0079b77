"""Invariants of a run directory after any crash, and after a training run in it."""

from __future__ import annotations

import os
from pathlib import Path

from ckpt_callbacks.errors import VerifyError
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.system.faults.writer import (
    EPOCHS,
    FILE,
    MAX_PENDING,
    acknowledgements,
    new_run,
    promised,
    read,
    train,
    weights,
)

FOREIGN = {
    "last.txt": b"somebody's own notes on the last run",
    "best": b"a file, not a link",
    "m-003-30.bin": b"somebody has the name that a checkpoint would get",
    "m-003-30.dir": b"and the one of a directory",
    "README.md": b"# mine",
    "data/a.csv": b"1,2,3",
}


def plant(dirpath: Path) -> None:
    """Put files of another owner into the directory."""
    for name, content in FOREIGN.items():
        (dirpath / name).parent.mkdir(parents=True, exist_ok=True)
        (dirpath / name).write_bytes(content)


def check_foreign(dirpath: Path) -> None:
    for name, content in FOREIGN.items():
        assert (dirpath / name).read_bytes() == content, f"{name} is no longer what it was"


def check_links(dirpath: Path) -> None:
    """Check that ``last`` and ``best`` point at checkpoints that verify."""
    files = {record.file: record for record in Manifest.read(dirpath).live()}
    for link in (path for path in dirpath.iterdir() if path.is_symlink() and not path.name.startswith(".")):
        target = link.readlink().name
        assert target in files, f"{link.name} points at {target}, which is no checkpoint any more"
        verify(files[target])


def check_reopened(dirpath: Path, saved: list[int], coming: set[int], kind: str = FILE) -> set[int]:
    """Open the directory as the next training run does, check what it finds, and return the epochs that survived.

    Args:
        saved: Acknowledged epochs, in order.
        coming: The epochs whose saves may have been under way.
    """
    run = new_run(dirpath, kind)
    run.open()
    try:
        newest = next(run.view.verified_resumable(), None)
        survivors = set()
        for record in run.view.records():
            verify(record)
            assert read(record.path)[1] == weights(record.epoch)
            survivors.add(record.epoch)
        check_foreign(dirpath)
        check_links(dirpath)
        if saved:
            assert newest is not None and newest.epoch in {saved[-1], *coming}, f"saved {saved}, found {newest}"
            assert (dirpath / f"last{run.suffix}").is_symlink()
        # A save that was never acknowledged counts if it was completed.
        assert promised(sorted({*saved, *survivors})) <= survivors, f"saved {saved}, but only {survivors} are there"
        assert survivors <= {*saved, *coming}, f"saved {saved}, but {survivors} are there"
        return survivors
    finally:
        run.close()


def check_goes_on(dirpath: Path, acknowledged: Path, kind: str = FILE, epochs: int = EPOCHS) -> None:
    """Train to the end, and check that the directory is exactly that of an uninterrupted run."""
    assert train(dirpath, acknowledged, kind, epochs) == []
    check_finished(dirpath, kind, promised(list(range(1, epochs + 1))))


def check_finished(dirpath: Path, kind: str, expected: set[int], extra: int = 0) -> None:
    """Check that exactly the expected epochs exist and verify, with the right aliases and no other files."""
    run = new_run(dirpath, kind)
    records = run_records(run)
    assert {record.epoch for record in records} == expected
    # Only a save that was reported as failed, and was found intact later, may exist beside its repetition.
    assert len(records) <= len(expected) + extra
    for record in records:
        verify(record)
        assert read(record.path)[1] == weights(record.epoch)
        assert not record.superseded, f"{record.file}: was taken for a dead branch"
    links = {name: os.readlink(dirpath / f"{name}{run.suffix}") for name in ("last", "best", "final")}
    assert links == {"last": run.view.last().file, "best": run.view.best().file, "final": run.view.final().file}
    foreign = {name.split("/")[0] for name in FOREIGN}
    ours = {record.file for record in records} | {f"{name}{run.suffix}" for name in links} | {".run"}
    there = {path.name for path in dirpath.iterdir()}
    assert there == foreign | ours, f"too many: {there - foreign - ours}, missing: {(foreign | ours) - there}"
    assert [path.name for path in (dirpath / ".run").glob("staging/*")] == []
    check_foreign(dirpath)


def run_records(run):
    run.view.refresh()
    return run.view.records()


def damaged(dirpath: Path) -> list[str]:
    """Return the live checkpoints that do not verify."""
    found = []
    for record in Manifest.read(dirpath).live():
        try:
            verify(record)
        except VerifyError as error:
            found.append(str(error))
    return found


def coming(acknowledged: Path, kind: str) -> set[int]:
    """Return the epochs whose saves may have been pending, or done but not acknowledged, when a run was killed."""
    saved = acknowledgements(acknowledged)
    following = (saved[-1] if saved else 0) + 1
    return set(range(following, min(following + MAX_PENDING[kind], EPOCHS) + 1))


def describe(call, dirpath):
    return f"{call.number} {call.name} {call.path.partition('/run/')[2]}"


def prepared(place):
    folder = place()
    dirpath = folder / "run"
    dirpath.mkdir()
    plant(dirpath)
    return dirpath, folder / "acknowledged"
