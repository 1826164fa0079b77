"""Training that continues in a run directory which ``ckpt pull`` has made."""

import shutil

import pytest

from ckpt_callbacks import open_run
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt
from tests.support.forks import forks_of
from tests.support.processes import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_lightning.py", "train_keras.py"])
def test_training_continues_from_what_was_pulled(script, tmp_path):
    run_dir, mirror = tmp_path / "run", tmp_path / "mirror"
    forks_of().run(ROOT / "examples" / script, run_dir, "2")
    assert ckpt("push", run_dir, mirror)[0] == 0
    resumed = Manifest.read(run_dir)
    newest = open_run(run_dir).resume_path().rpartition("/")[2]
    shutil.rmtree(run_dir)
    assert ckpt("pull", mirror, run_dir)[::2] == (0, "")
    forks_of().run(ROOT / "examples" / script, run_dir, "4")
    manifest = Manifest.read(run_dir)
    assert [attempt.number for attempt in manifest.attempts] == [1, 2]
    parent = manifest.recall(manifest.attempts[-1].parent)
    assert (parent.file, parent.epoch) == (newest, 2) and max(record.epoch for record in manifest.live()) == 4
    assert manifest.next_id > max(resumed.records)
    assert ckpt("push", run_dir, mirror)[0] == 0  # the mirror belongs to the run still
    assert "nothing is wrong" in ckpt("mirror", "check", mirror)[1]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_lightning.py", "train_keras.py"])
def test_the_checkpoints_of_each_machine_count_on_the_next_ones(script, tmp_path):
    mirror, sent = tmp_path / "mirror", 0
    for machine in range(1, 5):
        run_dir = tmp_path / f"machine {machine}"
        if machine > 1:
            assert ckpt("pull", mirror, run_dir)[::2] == (0, "")
        forks_of().run(ROOT / "examples" / script, run_dir, str(machine))
        live = Manifest.read(run_dir).live()
        assert not any(record.superseded for record in live) and len(live) > sent
        assert ckpt("push", run_dir, mirror)[0] == 0
        assert "superseded" not in ckpt("ls", mirror)[1]
