"""Frozen layers take room once, on file systems with reflinks; elsewhere, nothing is different."""

import signal
import subprocess
import sys
import time

import pytest
import torch

from ckpt_callbacks import EventKind, Every, KeepAll, KeepLast, Policy
from ckpt_callbacks.formats.torch.writer import write
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.extents import saved_bytes
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.reflinks import mounted, used
from tests.support.training import new_run, report, start

KINDS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("btrfs", "xfs")]
FROZEN, VALUES = 10, 100_000  # layers, and values of each; one more layer is trained
KEEP = KeepAll()
SIZE = (FROZEN + 1) * VALUES * 4


class Layers:
    """A snapshot of a model of which one layer is trained."""

    live = False

    def __init__(self, epoch, embedded):
        made = torch.Generator().manual_seed(0)
        self._state = {f"frozen{n}": torch.rand(VALUES, generator=made) for n in range(FROZEN)}
        self._state["trained"] = torch.rand(VALUES, generator=made) + epoch
        self._facts = {"snapshot": embedded.run, "record": embedded.record, "padding": "x" * 3000 * epoch}

    def write(self, path):
        return write(path, {"ckpt_callbacks": self._facts, "state_dict": self._state})

    def release(self):
        """Do nothing: there is no memory to give back."""


def train(dirpath, epochs=10, keep=KEEP, each=lambda epoch: None):
    """Save after each epoch from the newest checkpoint on, and return the run, which has ended."""
    run = new_run(dirpath, Policy(Every(epochs=1), keep), suffix=".ckpt", filename="{epoch}")
    run.open()
    begin, newest = 0, next(run.view.verified_resumable(), None)
    if newest is not None:
        begin = newest.epoch
        run.restore(torch.load(newest.path)["ckpt_callbacks"]["snapshot"])
    start(run, step=begin * 10, epoch=begin)
    try:
        for epoch in range(begin + 1, epochs + 1):
            facts = {"step": epoch * 10, "epoch": epoch, "complete": True}
            report(run, EventKind.EPOCH_END, stage=lambda embedded, n=epoch: Layers(n, embedded), **facts)
            run.wait()
            each(epoch)
    finally:
        run.close()
    return run


@pytest.fixture(params=KINDS)
def top(request, tmp_path):
    with mounted(request.param, tmp_path) as folder:
        yield folder


def test_ten_files_of_a_model_of_which_most_is_frozen_take_less_than_two(top):
    train(top / "another", 1)
    before = used(top)
    run = train(top / "run")
    records = run.view.records()
    assert len(records) == 10 and all(verify(record) is None for record in records)
    assert used(top) - before <= 2.1 * records[0].size  # they are small, so what the file system itself needs counts
    saved = saved_bytes(record.path for record in records)
    assert saved == 9 * FROZEN * (VALUES * 4 // 4096 * 4096)
    last = ckpt("du", run.dirpath).stdout.splitlines()[-2].split()
    assert last == ["shared", f"-{saved / 1e6:.1f}", "MB"]
    for record in records:  # loaded by torch alone
        held = torch.load(record.path, weights_only=True)["state_dict"]
        assert torch.equal(held["trained"], Layers(record.epoch, _Nothing).__dict__["_state"]["trained"])


class _Nothing:
    run = record = None


@pytest.mark.slow
def test_a_resumed_run_compares_nothing_again_and_goes_on(top, caplog):
    caplog.set_level("INFO", "ckpt_callbacks")
    train(top / "run", 3)
    caplog.clear()
    run = train(top / "run", 5)
    said = [
        message.split("run/")[1].replace(": shares", "").replace(" of the disk", "")
        for message in caplog.messages
        if "shares" in message
    ]
    piece = FROZEN * (VALUES * 4 // 4096 * 4096)
    assert sorted(said) == [
        "1.ckpt 0 bytes with 2.ckpt", "2.ckpt 0 bytes with 1.ckpt", "3.ckpt 0 bytes with 2.ckpt",
        f"4.ckpt {piece} bytes with 3.ckpt", f"5.ckpt {piece} bytes with 4.ckpt",
    ]  # fmt: skip
    assert all(verify(record) is None for record in run.view.records())


@pytest.mark.slow
def test_what_is_deleted_leaves_the_others_whole(top):
    run = train(top / "run", keep=KeepLast(2))
    records = run.view.records()
    assert [record.epoch for record in records] == [9, 10] and all(verify(record) is None for record in records)
    assert saved_bytes(record.path for record in records) > 0.8 * SIZE


def test_damage_in_an_older_file_does_not_spread(top):
    def damage(epoch):
        if epoch == 2:
            path = top / "run" / "2.ckpt"
            data = path.read_bytes()
            with path.open("r+b") as file:  # one bit in each frozen layer
                for place in range(len(data) // 22, len(data), len(data) // 11):
                    file.seek(place)
                    file.write(bytes([data[place] ^ 1]))

    run = train(top / "run", 3, each=damage)
    assert ckpt("verify", run.dirpath).exit_code
    for record in run.view.records():
        assert (record.epoch == 2) is bool(_problem(record))


def _problem(record):
    try:
        verify(record)
    except Exception as error:
        return error
    return None


def test_without_reflinks_no_thread_is_started_and_nothing_is_shared(tmp_path):
    run = train(tmp_path, 3)
    sharing = run._committer.shared_blocks
    if sharing._is_possible:
        pytest.skip("the temporary folder has reflinks")
    assert sharing._is_possible is False and not sharing._done and sharing._worker._pool is None
    assert "shared" not in ckpt("du", tmp_path).stdout and '"shared": 0' in ckpt("du", tmp_path, "--json").stdout


def test_a_checkpoint_that_is_no_file_any_more_hinders_nothing(tmp_path, caplog):
    def replace(epoch):
        if epoch == 1:
            (tmp_path / "1.ckpt").unlink()
            (tmp_path / "1.ckpt").mkdir()

    run = train(tmp_path, 3, each=replace)
    assert not [line for line in caplog.messages if "cleaning up failed" in line]
    assert len(run.view.records()) >= 2


@pytest.mark.parametrize("turn", range(4))
def test_a_kill_at_any_time_changes_no_byte(top, turn):
    code = f"from tests.run.test_sharing import train; from pathlib import Path; train(Path({str(top / 'run')!r}), 200)"
    training = subprocess.Popen([sys.executable, "-c", code])
    try:
        while training.poll() is None:
            found = Manifest.read(top / "run").live()
            if len(found) >= 3 + 2 * turn and (not turn or saved_bytes(record.path for record in found)):
                break
            time.sleep(0.01)
        time.sleep(0.013 * turn)
        training.send_signal(signal.SIGKILL)
    finally:
        training.kill()
        training.wait()
    assert ckpt("doctor", top / "run").exit_code == 0
    records = Manifest.read(top / "run").live()
    assert len(records) >= 3 + 2 * turn - 1 and all(verify(record) is None for record in records)
    assert not turn or saved_bytes(record.path for record in records) > 0
