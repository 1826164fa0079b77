"""Checkpoints with equal arrays, such as frozen layers: they share blocks of the disk, and nothing else changes."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from ckpt_callbacks import EventKind, Every, KeepAll, Policy
from ckpt_callbacks.formats import format_of
from ckpt_callbacks.run.shared_blocks import share_equal
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.identity import identity
from ckpt_callbacks.store.shared_blocks import BLOCK, can_share, share
from ckpt_callbacks.torch.staging import TorchStaging
from tests.support.training import new_run, report, start

FROZEN, FILES = 9, 10
BYTES = 16 << 20  # of each array


def state(epoch, size=BYTES):
    """Return ten arrays, of which only the last one changes with the epoch."""
    arrays = {f"frozen.{n}": torch.full((size // 4,), float(n)) for n in range(FROZEN)}
    return {**arrays, "head": torch.full((size // 4,), 100.0 + epoch)}


def train(dirpath, epochs, size):
    """Save a checkpoint of nothing but weights after each epoch; return the records."""
    run = new_run(dirpath, Policy(Every(epochs=1), KeepAll()), suffix=".ckpt", filename="{epoch}", contents="weights")
    run.open()
    start(run)
    for epoch in range(1, epochs + 1):

        def stage(embedded, epoch=epoch):
            data = {"state_dict": state(epoch, size), "ckpt_callbacks": {"record": embedded.record}}
            return TorchStaging("memory").stage(data)

        report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True, stage=stage)
        run.wait()
    run.close()
    return run.view.records()


def test_equal_arrays_are_found_by_their_places_and_other_files_stay_as_they_are(tmp_path):
    records = train(tmp_path, 2, 128 << 10)
    first, second = (format_of(record.path).places(record.path) for record in records)
    assert len(first) == len(second) == FROZEN + 1 and len(first.keys() & second.keys()) == FROZEN
    for found, record in ((first, records[0]), (second, records[1])):
        data = record.path.read_bytes()
        for (_, size), place in found.items():
            numbers = np.frombuffer(data[place : place + size], np.float32)
            assert place % BLOCK == 0 and size == 128 << 10 and len(set(numbers)) == 1
        verify(record)


@contextmanager
def mounted(kind, folder):
    """Yield a folder on a new file system of this kind."""
    image, place = folder / "image", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(4 << 30)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", "-f", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount {kind}: {error}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        image.unlink()


def used(place):
    os.sync()
    facts = os.statvfs(place)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a file system")
@pytest.mark.parametrize(("kind", "most"), [("xfs", 1.91), ("btrfs", 2.5)])
def test_ten_checkpoints_of_a_model_that_is_mostly_frozen_take_less_than_two(tmp_path, kind, most):
    with mounted(kind, tmp_path) as place:
        before = used(place)
        records = train(place / "run", FILES, BYTES)
        taken = (used(place) - before) / records[0].size
        print(f"{kind}: {FILES} files take as much as {taken:.2f}; without shared blocks, {FILES}")
        assert taken < most
        for record in records:
            verify(record, from_device=True)
            assert record.identity == identity(record.path)
            found = torch.load(record.path, weights_only=True)["state_dict"]
            assert all(torch.equal(found[name], value) for name, value in state(record.epoch).items())
        size = records[0].path.stat().st_size
        assert share(records[0].path, records[1].path, [(0, 0, size)]) < size, "what differs is left alone"
        verify(records[1], from_device=True)


def test_other_file_systems_and_lost_files_trouble_nobody(tmp_path, caplog):
    records = train(tmp_path, 2, 128 << 10)
    assert caplog.messages == [f"{tmp_path}: saves only weights; a run cannot be resumed from them"]
    with pytest.raises(FileNotFoundError):
        share_equal(tmp_path / "gone.ckpt", records[1].path)
    with pytest.raises(FileNotFoundError):
        can_share(tmp_path / "gone.ckpt")
