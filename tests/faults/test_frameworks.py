"""Real trainings: killed at calls of every kind, with flipped bits, and on a disk that fills up.

One child is forked for each point, from a process that imported the framework and ran nothing with it.
"""

import os
import random
import shutil
import subprocess
from collections import defaultdict

import pytest
from faults.checks import check_foreign, check_links, damaged, describe, plant
from faults.inject import in_child, interposed, kill_before, listing

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, Policy, Status, VerifyError
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest

pytestmark = pytest.mark.slow
VAL = Metric("val_loss", mode="min")
POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2) | KeepBest(1, VAL))
FRAMEWORKS = ("lightning", "keras")
SEEDED = 6


def train_lightning(dirpath, acknowledged=None, epochs=3, policy=POLICY, contents="full"):
    import torch

    torch.set_num_threads(1)
    from lightning.pytorch.callbacks import Callback
    from lightning_adapter import task

    class Acknowledge(Callback):  # behind ours, which Lightning puts last among those that checkpoint: one hook later
        def on_train_epoch_start(self, trainer, pl_module):
            note(acknowledged, callback)

        def on_train_end(self, trainer, pl_module):
            note(acknowledged, callback)

    callback = task.LightningCheckpoint(dirpath, policy, contents=contents)
    module = task.Model()
    fitter = task.trainer(Acknowledge(), callback, max_epochs=epochs)
    fitter.fit(module, *task.loaders(), ckpt_path=callback.resume_path())
    return callback


def train_keras(dirpath, acknowledged=None, epochs=3, policy=POLICY, contents="full"):
    import keras
    from keras_adapter import task

    class Acknowledge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            note(acknowledged, callback)

        def on_train_end(self, logs=None):
            note(acknowledged, callback)

    callback = task.checkpoint(dirpath, policy, contents=contents)
    task.fit(task.quick(), Acknowledge(), callback, epochs=epochs)
    return callback


TRAIN = {"lightning": train_lightning, "keras": train_keras}


def note(acknowledged, callback):
    last = callback.last()
    if acknowledged is not None and last is not None:
        descriptor = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{last.id} {last.epoch}\n".encode())
        os.close(descriptor)


def open_plainly(path):
    """Load with the framework alone."""
    if path.suffix == ".ckpt":
        import torch

        assert torch.load(path, weights_only=True)["state_dict"]
    else:
        import keras

        if path.name.endswith(".weights.h5"):
            return
        keras.saving.load_model(path)


def load_framework(framework):
    if framework == "lightning":
        pass
    else:
        import keras_adapter.task  # noqa: F401


def points(calls):
    """The first, the middle and the last call of each kind, and some others."""
    kinds = defaultdict(list)
    for call in calls:
        if call.changing:
            kinds[call.name].append(call.number)
    chosen = {found[place] for found in kinds.values() for place in (0, len(found) // 2, -1)}
    rest = sorted({call.number for call in calls if call.changing} - chosen)
    return sorted(chosen | set(random.Random(0).sample(rest, min(SEEDED, len(rest)))))


def traced(framework, dirpath):
    """The calls of one training, found in a child, because the parent must not use the framework."""
    found = dirpath.parent / "calls"

    def work():
        calls = listing(dirpath, lambda: TRAIN[framework](dirpath))
        found.write_text("".join(f"{call.number}\t{call.name}\t{call.path}\n" for call in calls))

    assert in_child(work) == 0
    from faults.inject import Call

    rows = [line.split("\t") for line in found.read_text().splitlines()]
    return [Call(int(number), name, path) for number, name, path in rows]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_killed_at_calls_of_every_kind(place, figures, framework):
    load_framework(framework)
    dirpath = place() / "run"
    dirpath.mkdir()
    calls = traced(framework, dirpath)
    losses, tried = [], points(calls)
    for number in tried:
        dirpath = place() / "run"
        dirpath.mkdir()
        plant(dirpath)
        acknowledged = dirpath.parent / "acknowledged"

        def killed(dirpath=dirpath, acknowledged=acknowledged, number=number):
            with interposed(dirpath, kill_before(number)):
                TRAIN[framework](dirpath, acknowledged)

        def resumed(dirpath=dirpath, acknowledged=acknowledged):
            said = [line.split() for line in acknowledged.read_text().splitlines()] if acknowledged.exists() else []
            callback = TRAIN[framework](dirpath)
            attempts = callback._run.manifest.attempts
            if said and attempts[-1].number > 1:  # else nothing was left to train
                parent = callback._run.manifest.records[attempts[-1].parent]
                assert parent.id >= int(said[-1][0]), f"{said} were saved; resumed from {parent.id}"
            epochs = {record.epoch for record in callback.records()}
            # A save that was found whole behind a resume from before it still takes a place among the last two.
            assert epochs >= ({3} if any(record.superseded for record in callback.records()) else {2, 3}), epochs
            assert not damaged(dirpath)
            check_foreign(dirpath)
            check_links(dirpath)
            for record in callback.records():
                open_plainly(record.path)

        status = in_child(killed)
        if status not in (0, 9) or in_child(resumed) != 0:
            losses.append(f"{describe(calls[number - 1], dirpath)} (status {status})")
        shutil.rmtree(dirpath.parent)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} points tried of {len(calls)} calls, losses = 0")


@pytest.mark.parametrize(
    ("framework", "contents"), [("lightning", "full"), ("keras", "full"), ("keras", "weights")]
)
def test_forty_flipped_bits(place, figures, framework, contents):
    load_framework(framework)
    dirpath = place() / "run"

    def work():
        TRAIN[framework](dirpath, epochs=3, policy=Policy(Every(epochs=1), KeepAll()), contents=contents)

    assert in_child(work) == 0
    *_, before, newest = Manifest.read(dirpath).live()
    whole, random_ = newest.path.read_bytes(), random.Random(1)
    noticed = 0
    for _ in range(40):
        content = bytearray(whole)
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        newest.path.write_bytes(content)
        with pytest.raises(VerifyError):
            verify(newest)
        noticed += 1
        if contents == "full":
            from faults.writer import new_run

            assert next(new_run(dirpath).resumable()).id == before.id

    def resumed():
        callback = TRAIN[framework](dirpath, epochs=4, policy=Policy(Every(epochs=1), KeepAll()))
        assert callback._run.manifest.attempts[-1].parent == before.id
        assert callback.last().epoch == 4

    if contents == "full":
        assert in_child(resumed) == 0
    figures(f"{noticed} of 40 flipped bits in {len(whole)} bytes noticed ({newest.file})")


@pytest.fixture
def small_disk(place):
    """A file system of 256 kB of our own."""
    folder = place()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "faults", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_disk_that_fills_up(small_disk, figures, framework):
    load_framework(framework)
    dirpath = small_disk / "run"
    epochs = 40

    def work():
        callback = TRAIN[framework](dirpath, epochs=epochs, policy=Policy(Every(epochs=1), KeepAll()))
        assert callback._run.state.epoch == epochs, "training ended before its time"
        for record in callback.records():
            verify(record)
            open_plainly(record.path)

    assert in_child(work) == 0
    records = Manifest.read(dirpath).records.values()
    saved = [record for record in records if record.status.on_disk]
    assert saved and not damaged(dirpath)
    assert max(record.epoch for record in saved) < epochs, "the disk did not fill up"
    failed = [record for record in records if record.status is Status.FAILED]
    figures(f"{epochs} epochs, {len(saved)} checkpoints fit and load, {len(failed)} failures are on record")
