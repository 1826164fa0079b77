"""A format whose files can be reduced to their weights, and a training run that has them reduced."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ckpt_callbacks import Contents, EventKind, Every, KeepBest, KeepLast, Metric, Policy, native_path
from ckpt_callbacks.config import Config
from ckpt_callbacks.errors import VerifyError
from ckpt_callbacks.formats import FORMATS, Format, Shapes, Written
from ckpt_callbacks.formats.sharded.pieces import Piece
from tests.support.training import new_run, report, start

SUFFIX = ".parts"
VAL = Metric("val_loss", mode="min")
POLICY = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents="weights"))
HALVED = Contents("weights", "bf16")
ROUNDED = Policy(
    Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL, contents="weights") | KeepBest(2, by=VAL, contents=HALVED)
)
LOSSES = (0.5, 0.1, 0.4, 0.2, 0.3, 0.6, 0.7)  # from epoch 4 on, 2 and 4 are the best
EPOCHS = 6
WEIGHTS, OPTIMIZER = 3000, 6000  # bytes


def weights(epoch: int) -> bytes:
    """Return the weights after an epoch."""
    return bytes((epoch * 37 + i * 11) % 256 for i in range(WEIGHTS))


class Parts:
    """A snapshot of weights and of an optimizer's state."""

    live = False

    def __init__(self, epoch: int, embedded: Any) -> None:
        self._facts = {"snapshot": embedded.run, "record": embedded.record}
        self._parts = weights(epoch), bytes([epoch]) * OPTIMIZER

    def write(self, path: Path) -> Written:
        _write(path, self._facts, b"".join(self._parts))
        return Written([("weights", (WEIGHTS,))])

    def release(self) -> None:
        """Do nothing: there is no memory to give back."""


def read(path: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the embedded facts, the weights, and the optimizer's state, which a reduced file lacks."""
    head, _, data = path.read_bytes().partition(b"\n")
    check, _, facts = head.partition(b" ")
    if check != b"%08x" % zlib.crc32(facts + data):
        raise VerifyError(f"{path}: is damaged")
    found = json.loads(facts)
    size = WEIGHTS // 2 if found["record"].get("reduced") else WEIGHTS
    return found, data[:size], data[size:]


def train(dirpath: Path, epochs: int = EPOCHS, policy: Policy = POLICY, **settings: Any) -> Any:
    """Train from the newest checkpoint up to ``epochs``, and return the run, which has ended."""
    settings = {"background": False, "described": Config(policy).described, **settings}
    run = new_run(dirpath, policy, suffix=SUFFIX, filename="{epoch}", **settings)
    run.open()
    begin, newest = 0, next(run.view.verified_resumable(), None)
    if newest is not None:
        begin = newest.epoch
        with native_path(newest.path) as native:
            run.restore(read(native)[0]["snapshot"])
    start(run, step=begin * 10, epoch=begin)
    try:
        for epoch in range(begin + 1, epochs + 1):
            facts = {"step": epoch * 10, "epoch": epoch, "metrics": {"val_loss": LOSSES[epoch - 1]}, "complete": True}
            report(run, EventKind.EPOCH_END, stage=lambda embedded, n=epoch: Parts(n, embedded), **facts)
        if begin < epochs or run.view.final() is None:
            report(run, EventKind.END, step=epochs * 10, epoch=epochs, stage=lambda embedded: Parts(epochs, embedded))
    finally:
        run.close()
    return run


def _write(path: Path, facts: Mapping[str, Any], data: bytes) -> None:
    text = json.dumps(facts).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        left = b"%08x %s\n%s" % (zlib.crc32(text + data), text, data)
        while left:  # a disk that becomes full takes a part of it first
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def _check(path: Path, wanted: Shapes) -> None:
    found = read(path)[1]
    if wanted and len(found) != wanted[0][1][0]:
        raise VerifyError(f"{path}: lacks weights")


def _thin(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
    _, data, optimizer = read(path)
    if contents.dtype is not None and not record["reduced"]:
        data = data[::2]
    reduced = {"dtype": contents.dtype} if contents.dtype is not None else {}
    facts = {"record": {**record, "reduced": reduced}}
    _write(thinned, facts, data + (optimizer if contents.kind == "full" else b""))
    return Written([("weights", (len(data),))], reduced=reduced)


def _split(path: Path, folder: Path, most: int, progress: Callable[[int], object]) -> list[Piece]:
    whole, pieces = path.read_bytes(), []
    begin = whole.index(b"\n") + 1
    for number, at in enumerate(range(begin, len(whole), most)):
        part = whole[at : at + most]
        (folder / f"part-{number}").write_bytes(part)
        pieces.append(Piece(at, len(part), f"part-{number}", 0))
        progress(len(part))
    return pieces


FORMATS[SUFFIX] = Format(
    SUFFIX, lambda path: read(path)[0], _check, lambda a, b: read(a)[1] == read(b)[1], _thin, split=_split
)
