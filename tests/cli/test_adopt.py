"""``ckpt adopt`` in directories that Lightning's own ModelCheckpoint wrote."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ckpt_callbacks import open_run
from ckpt_callbacks.recovery.adoption import Adoption
from ckpt_callbacks.store.command_lock import command_lock
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import Model
from tests.cli.command_line import ckpt
from tests.drop_ins.lightning_runs import Original, fit
from tests.support.processes import ROOT

SCORES = [0.5, 0.9, 0.7, 0.6, 0.8]  # by epoch

pytestmark = pytest.mark.filterwarnings("ignore")


class Scored(Model):
    """The small model, with a metric that is known beforehand."""

    def validation_step(self, batch, index):
        self.log("score", SCORES[self.current_epoch])


class Touch:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def callbacks(dirpath):
    return [
        Original(dirpath, monitor="score", mode="max", save_top_k=2, save_last=True),
        Original(dirpath, "weights-{step}", monitor="score", save_top_k=-1, save_weights_only=True),
        Original(dirpath, "each-{step}", every_n_train_steps=8, save_top_k=-1),
    ]


def save(dirpath, epochs=3, **settings):
    """Train as a script without this package does."""
    return fit(*callbacks(dirpath), model=Scored, max_epochs=epochs, limit_train_batches=4, **settings)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    dirpath = tmp_path_factory.mktemp("saved")
    save(dirpath)
    return dirpath


@pytest.fixture
def run_dir(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def state(dirpath):
    """Return what must not change: the bytes of each file, and when they were written."""
    files = [path for path in sorted(dirpath.iterdir()) if path.is_file()]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def known(dirpath):
    """Return what the records say, by file."""
    records = Manifest.read(dirpath).live()
    return {r.file: (r.step, r.epoch, dict(r.metrics), r.contents, r.resumable, r.superseded) for r in records}


def test_the_records_say_what_the_files_say(run_dir):
    before = state(run_dir)
    code, out, err = ckpt("adopt", run_dir)
    assert (code, err) == (0, "") and f"{run_dir}: 7 checkpoints recorded;" in out
    assert known(run_dir) == {
        "weights-step=4.ckpt": (4, 1, {"score": 0.5}, "weights", False, False),
        "each-step=8.ckpt": (8, 1, {}, "full", True, False),  # before the validation
        "epoch=1-step=8.ckpt": (8, 2, {"score": pytest.approx(0.9)}, "full", True, False),
        "weights-step=8.ckpt": (8, 2, {"score": pytest.approx(0.9)}, "weights", False, False),
        "epoch=2-step=12.ckpt": (12, 3, {"score": pytest.approx(0.7)}, "full", True, False),
        "last.ckpt": (12, 3, {"score": pytest.approx(0.7)}, "full", True, False),
        "weights-step=12.ckpt": (12, 3, {}, "weights", False, False),  # no later file ranks it
    }
    assert state(run_dir) == before
    run = open_run(run_dir)
    assert run.best().metrics == {"score": pytest.approx(0.9)} and run.last().step == 12
    assert torch.load(run.resume_path(), weights_only=True)["global_step"] == 12
    assert Path(ckpt("path", run_dir, "best")[1].strip()).name == run.best().file
    for command in (["ls"], ["verify"], ["prune"], ["doctor", "--dry-run"], ["log"], ["du"], ["show", "last.ckpt"]):
        assert ckpt(command[0], run_dir, *command[1:])[0] == 0
    assert state(run_dir) == before and sorted(path.name for path in run_dir.iterdir() if path.is_dir()) == [".run"]


def test_a_dry_run_records_nothing_and_a_second_time_nothing_is_left_to_record(run_dir):
    out = ckpt("adopt", run_dir, "--dry-run")[1]
    assert f"{run_dir / 'epoch=1-step=8.ckpt'}: epoch 2, step 8, score=0.9; would be recorded\n" in out
    assert not (run_dir / ".run").exists()
    ckpt("adopt", run_dir)
    journal = (run_dir / ".run" / "manifest.jsonl").read_bytes()
    for option in ([], ["--dry-run"]):
        assert ckpt("adopt", run_dir, *option) == (0, f"{run_dir}: nothing to adopt\n", "")
    assert (run_dir / ".run" / "manifest.jsonl").read_bytes() == journal


@pytest.mark.parametrize("done", [0, 1, 4, 6])
def test_what_an_interrupted_adoption_has_left_is_recorded_by_the_next_one(run_dir, done, tmp_path):
    whole = shutil.copytree(run_dir, tmp_path / "whole")
    ckpt("adopt", whole)
    for repair in Adoption(Manifest.read(run_dir)).repairs()[:done]:
        repair.apply()
    assert ckpt("adopt", run_dir)[0] == 0
    assert known(run_dir) == known(whole) and list(known(run_dir)) == list(known(whole))
    assert len(Manifest.read(run_dir).attempts) == 1


@pytest.mark.slow
@pytest.mark.parametrize("at", range(8))
def test_a_kill_leaves_a_directory_that_can_be_adopted_again(run_dir, at):
    program = f"""
import os, signal
from ckpt_callbacks.cli import main
from ckpt_callbacks.store.journal import Journal
append, calls = Journal.append, []
def kill(*given):
    calls.append(1)
    if len(calls) > {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return append(*given)
Journal.append = kill
main(["adopt", {str(run_dir)!r}])
"""
    before = state(run_dir)
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    assert ckpt("adopt", run_dir)[0] == 0
    assert len(known(run_dir)) == 7 and state(run_dir) == before
    assert ckpt("adopt", run_dir)[1] == f"{run_dir}: nothing to adopt\n"


def test_what_cannot_be_read_is_named_and_left_alone(run_dir):
    whole = (run_dir / "last.ckpt").read_bytes()
    (run_dir / "last.ckpt").write_bytes(whole[: len(whole) // 2])
    at = whole.index(b"state_dict")
    (run_dir / "flipped.ckpt").write_bytes(whole[:at] + b"X" + whole[at + 1 :])
    (run_dir / "sharded.ckpt").mkdir()
    (run_dir / "text.ckpt").write_text("no checkpoint")
    torch.save({"weights": torch.ones(2)}, run_dir / "other.ckpt")  # whoever wrote that
    (run_dir / "metrics.csv").touch()
    before = state(run_dir)
    code, _, err = ckpt("adopt", run_dir)
    assert code == 1 and len(known(run_dir)) == 6 and state(run_dir) == before
    lines = err.splitlines()
    assert [line.split(":")[1].rpartition("/")[2] for line in lines] == [
        "flipped.ckpt", "last.ckpt", "sharded.ckpt", "text.ckpt",
    ]  # fmt: skip
    assert all(line.startswith("Warning: ") and line.endswith("; left alone") for line in lines)


def test_objects_of_any_class_are_not_unpickled(run_dir, tmp_path):
    path = run_dir / "last.ckpt"
    held = torch.load(path, weights_only=True)
    torch.save({**held, "hyper_parameters": {"data": Touch(tmp_path / "touched")}}, path)
    code, _, err = ckpt("adopt", run_dir)
    assert code == 0 and not (tmp_path / "touched").exists()
    assert known(run_dir)["last.ckpt"] == (12, 3, {"score": pytest.approx(0.7)}, "full", True, False)
    assert err.startswith(f"Warning: {run_dir}: objects of classes such as ") and "last.ckpt" in err
    assert len(err.splitlines()) == 1


def test_files_in_the_folders_that_a_slash_in_a_metric_makes(tmp_path):
    class Slashed(Scored):
        def validation_step(self, batch, index):
            self.log("val/score", SCORES[self.current_epoch])

    run_dir = tmp_path / "run"
    saving = Original(run_dir, "{epoch}-{val/score:.1f}", monitor="val/score", mode="max", save_top_k=-1)
    fit(saving, model=Slashed, max_epochs=2, limit_train_batches=2)
    save(run_dir / "inside", 1)  # of another directory
    assert ckpt("adopt", run_dir)[0] == 0
    assert known(run_dir) == {
        "epoch=0-val/score=0.5.ckpt": (2, 1, {"val/score": 0.5}, "full", True, False),
        "epoch=1-val/score=0.9.ckpt": (4, 2, {"val/score": pytest.approx(0.9)}, "full", True, False),
    }
    assert open_run(run_dir).best().step == 4 and ckpt("verify", run_dir)[0] == 0
    assert ckpt("adopt", run_dir)[1] == f"{run_dir}: nothing to adopt\n"


def test_the_last_file_has_the_metric_of_its_own_step_alone(tmp_path):
    best = Original(tmp_path, monitor="score", mode="max", save_last=True)
    newest = Original(tmp_path, "newest", save_last=True)
    fit(best, newest, model=Scored, max_epochs=3, limit_train_batches=4)
    assert float(torch.load(tmp_path / "newest.ckpt")["callbacks"][best.state_key]["current_score"]) > 0.8  # of epoch 1
    ckpt("adopt", tmp_path)
    assert known(tmp_path)["newest.ckpt"] == (12, 3, {}, "full", True, False)
    assert open_run(tmp_path).best().step == 8


def test_the_original_goes_on_and_its_new_files_are_adopted(tmp_path):
    save(tmp_path, 2)
    ckpt("adopt", tmp_path)
    before = known(tmp_path)
    save(tmp_path, 4, ckpt_path="last")
    assert ckpt("adopt", tmp_path)[0] == 0
    now = known(tmp_path)
    assert before["last.ckpt"][0] == 8 and now["last.ckpt"][:3] == (12, 3, {"score": pytest.approx(0.7)})
    assert {record.file for record in Manifest.read(tmp_path).live() if record.path.exists()} == {
        path.name for path in tmp_path.glob("*.ckpt")
    }
    assert open_run(tmp_path).best().step == 8 and open_run(tmp_path).last().step == 16
    assert len(Manifest.read(tmp_path).attempts) == 1


def test_a_best_that_no_file_names_is_said_to_be_unknown(tmp_path):
    torch.save({"pytorch-lightning_version": "2", "global_step": 1, "state_dict": {}}, tmp_path / "a.ckpt")
    assert "1 checkpoint recorded, without metrics, because the files say none; " in ckpt("adopt", tmp_path)[1]
    assert ckpt("path", tmp_path, "best")[2] == (
        f"Error: {tmp_path}: has no 'best' checkpoint yet: its checkpoints say no metric to rank them by; to name one "
        f"of them, run `ckpt tag {tmp_path} ID NAME`\n"
    )


def test_one_line_says_why_a_directory_is_not_adopted(run_dir, tmp_path):
    manifest = Manifest(run_dir)
    with command_lock(manifest.layout, "LightningCheckpoint"):
        code, _, err = ckpt("adopt", run_dir)
    assert code == 2 and "both write here" in err and not manifest.layout.journal.exists()
    assert "does not exist" in ckpt("adopt", tmp_path / "missing")[2]
    (tmp_path / "empty").mkdir()
    assert ckpt("adopt", tmp_path / "empty")[1] == f"{tmp_path / 'empty'}: nothing to adopt\n"
    assert os.listdir(tmp_path / "empty") == []
    (run_dir / ".run").rename(tmp_path / "aside")
    assert ckpt("adopt", tmp_path)[1] == f"{tmp_path}: nothing to adopt; did you mean {run_dir}?\n"
    (run_dir / "of_keras.keras").write_bytes(b"")
    assert ckpt("adopt", run_dir, "--dry-run")[0] == 1
