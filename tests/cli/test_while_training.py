"""``ckpt doctor --dry-run`` and ``ckpt verify`` while a run trains in the directory."""

import threading

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, Metric, Policy, Status
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.cli.command_line import ckpt
from tests.support.training import new_run, report, start

POLICY = Policy(Every(epochs=1), KeepLast(2), best_by=Metric("val", mode="min"))


@pytest.fixture
def training(tmp_path):
    run = new_run(tmp_path, POLICY, suffix=".ckpt", filename="{epoch}")
    run.open()
    start(run)
    yield run
    run.close()


def save(run, number):
    writer, metrics = FakeWriter(b"%d" % number), {"val": number % 7 + 1.0}
    report(run, EventKind.EPOCH_END, step=number, epoch=number, metrics=metrics, complete=True, stage=writer)
    run.wait()


def stale_link(run):
    (run.dirpath / "last.ckpt").unlink()
    (run.dirpath / "last.ckpt").symlink_to("1.ckpt")


def unfinished_save(run):
    run.directory.manifest.change(2, status=Status.WRITING)
    (run.dirpath / ".run/staging/x-3.ckpt").write_text("torn")


def unfinished_deletion(run):
    run.directory.manifest.change(1, status=Status.DELETED)


def unfinished_commit(run):
    run.directory.manifest.change(2, status=Status.COMMITTED)


@pytest.mark.parametrize("make", [stale_link, unfinished_save, unfinished_deletion, unfinished_commit])
def test_what_a_training_run_has_not_finished_is_a_problem_only_once_it_is_dead(training, make):
    save(training, 1)
    save(training, 2)
    make(training)
    done = ckpt("doctor", training.dirpath, "--dry-run")
    assert done == (0, f"{training.dirpath}: nothing is wrong\n", "")
    training.close()
    assert ckpt("doctor", training.dirpath, "--dry-run")[0] == 1


def test_damage_is_reported_while_a_run_trains(training):
    save(training, 1)
    (training.dirpath / "1.ckpt").write_bytes(b"?")
    code, out, _ = ckpt("doctor", training.dirpath, "--dry-run")
    assert code == 1 and "its bytes changed" in out


def test_a_run_that_saves_all_the_time_is_never_reported(training):
    save(training, 1)
    trainer = threading.Thread(target=lambda: [save(training, number) for number in range(2, 62)])
    trainer.start()
    try:
        while trainer.is_alive():
            for command, *options in (["doctor", "--dry-run"], ["verify"]):
                assert ckpt(command, training.dirpath, *options)[::2] == (0, ""), command
            assert "missing" not in ckpt("ls", training.dirpath)[1]
    finally:
        trainer.join()
    assert len(Manifest.read(training.dirpath).live()) == 3
