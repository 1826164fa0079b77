"""A training run without a framework: small checkpoints whose bytes follow from the step, saved in the background.

``python writer.py DIRPATH ACKNOWLEDGED [file | folder | direct]`` trains, and writes one line for each promise to
ACKNOWLEDGED. It does nothing but save, so it is ahead of the writer by as many saves as ``MAX_PENDING`` allows.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ckpt_callbacks import EventKind, Every, Improves, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.errors import VerifyError
from ckpt_callbacks.formats import FORMATS, Format, Shapes, Written
from ckpt_callbacks.formats.format import missing
from ckpt_callbacks.memory.arena import Arena
from ckpt_callbacks.memory.pages import PAGE
from ckpt_callbacks.record import Record
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.run.source import Embedded
from ckpt_callbacks.runtime.environment import environment
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.store.direct_file import LARGE, DirectFile
from tests.support.training import compacted_often, report, start, worker_of

EPOCHS = 6
VALUES = (None, 5.0, 3.0, 4.0, 1.0, 2.0, 6.0, 1.5, 2.5)  # of val, by epoch
VAL = Metric("val", mode="min")
POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2) | KeepBest(1, VAL))
FILE, FOLDER, DIRECT = "file", "folder", "direct"
MAX_PENDING = {FILE: 1, FOLDER: 1, DIRECT: 3}
now = SimpleNamespace(epoch=None)  # the epoch that is being written
environment()  # it runs git, which forked children need not do again


def promised(epochs: list[int]) -> set[int]:
    """Return what the policy keeps of the saved epochs, in the order given, by a second, shorter implementation."""
    if not epochs:
        return set()
    return {*epochs[-2:], min(epochs, key=lambda epoch: VALUES[epoch])}


@cache
def weights(epoch: int) -> bytes:
    """Return enough weights to be written from where they are, and some smaller ones that are copied."""
    repeated = bytes((epoch * 37 + i * 11) % 256 for i in range(256))
    return (repeated * (LARGE // 256 + 6))[: LARGE + 1500]


class Stage:
    """A snapshot that is written with plain system calls, so that a fault can be put at each of them."""

    live = False
    arena = Arena()

    def __init__(self, epoch: int, embedded: Embedded, kind: str) -> None:
        self.epoch, self.kind = epoch, kind
        self.facts = json.dumps({"snapshot": embedded.run, "record": embedded.record}).encode()

    def write(self, path: Path) -> Written:
        data = weights(self.epoch)
        if self.kind == DIRECT:
            return self._write_directly(path, data)
        state = self._state(data)
        if self.kind == FILE:
            _put(path, state + b"\n" + data)
        else:
            (path / "shards").mkdir(parents=True)
            _put(path / "state.json", state)
            _put(path / "shards" / "0.bin", data[:700])
            _put(path / "shards" / "1.bin", data[700:])
        return Written([("weights", (len(data),))])

    def _state(self, data: bytes, padding: bytes = b"") -> bytes:
        facts = self.facts + padding
        return b"%08x %s" % (zlib.crc32(facts + data), facts)

    def _write_directly(self, path: Path, data: bytes) -> Written:
        """Write a state that fills whole blocks, with data that begins on a block in memory and in the file."""
        head = self._state(data, b" " * (-(len(self.facts) + 10) % PAGE)) + b"\n"
        (memory,) = self.arena.carve([len(data)])
        memory[:] = data
        with DirectFile(path, len(head) + len(data)) as file:
            file.write(head)
            file.write(memory)
            digest, size = file.finish()
        return Written([("weights", (len(data),))], digest, size)

    def release(self) -> None:
        """Do nothing: there is no memory to give back."""


def read(path: Path) -> tuple[dict, bytes]:
    """Return the snapshot and the weights of a checkpoint."""
    carried, data = _open(path)
    return carried["snapshot"], data


def _open(path: Path) -> tuple[dict, bytes]:
    if path.is_dir():
        state, data = (path / "state.json").read_bytes(), b""
        for shard in sorted((path / "shards").iterdir()):
            data += shard.read_bytes()
    else:
        state, _, data = path.read_bytes().partition(b"\n")
    check, _, facts = state.partition(b" ")
    if check != b"%08x" % zlib.crc32(facts + data):
        raise VerifyError(f"{path}: is damaged, or no file of the writer")
    return json.loads(facts), data


def _check(path: Path, wanted: Shapes) -> None:
    problem = missing(path, wanted, [("weights", (len(_open(path)[1]),))])
    if problem is not None:
        raise VerifyError(problem)


# A lost manifest is rebuilt from such files too, as users with their own file format do it.
for suffix in (".bin", ".dir"):
    FORMATS[suffix] = Format(suffix, lambda path: _open(path)[0], _check, lambda a, b: _open(a)[1] == _open(b)[1])


def new_run(dirpath: Path, kind: str = FILE) -> Run:
    settings = Settings(dirpath, max_pending=MAX_PENDING[kind], metadata={"model": "m"})
    suffix = ".dir" if kind == FOLDER else ".bin"
    return compacted_often(Run(POLICY, settings, suffix=suffix, framework="writer", name="writer"))


def train(
    dirpath: Path, acknowledged: Path, kind: str = FILE, epochs: int = EPOCHS, back_to: int | None = None
) -> list[int]:
    """Train up to ``epochs``, from the newest checkpoint or the epoch ``back_to``; return the epochs not saved."""
    run, begin, saved = new_run(dirpath, kind), 0, set()

    def acknowledge(record: Record) -> None:
        saved.add(record.epoch)
        _put(acknowledged, f"{record.epoch}\n".encode(), os.O_APPEND)

    run.listeners.append(acknowledge)
    try:
        run.open()
        found = run.view.verified_resumable()
        newest = next((r for r in found if back_to is None or r.epoch == back_to), None)
        if newest is not None:
            begin = newest.epoch
            run.restore(read(newest.path)[0])
        start(run, step=begin * 10, epoch=begin)
        for epoch in range(begin + 1, epochs + 1):
            _observe(run, EventKind.EPOCH_END, epoch, kind, metrics={"val": VALUES[epoch]}, complete=True)
        final = run.view.final()
        if begin < epochs or final is None or final.epoch < epochs:  # an earlier run may have ended
            _observe(run, EventKind.END, epochs, kind)
    finally:
        run.close()
        now.epoch = None
    return sorted(set(range(begin + 1, epochs + 1)) - saved)


def acknowledgements(path: Path) -> list[int]:
    """Return the epochs that were acknowledged, each at its last time."""
    lines = path.read_text().split() if path.exists() else []
    return [int(e) for i, e in enumerate(lines) if e not in lines[i + 1 :]]


def _observe(run: Run, event: EventKind, epoch: int, kind: str, **more: Any) -> None:
    submit = worker_of(run).submit

    def numbered(job: Callable[[], None], *, here: bool = False) -> None:
        def do() -> None:
            now.epoch = epoch if event is not EventKind.END else None
            job()

        submit(do, here=here)

    worker_of(run).submit = numbered
    try:
        report(run, event, step=epoch * 10, epoch=epoch, stage=lambda embedded: Stage(epoch, embedded, kind), **more)
    finally:
        worker_of(run).submit = submit


def _put(path: Path, data: bytes, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if flags:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
