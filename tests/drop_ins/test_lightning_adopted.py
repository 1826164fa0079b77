"""Directories that Lightning's ModelCheckpoint has filled, and in which this package's callbacks go on."""

import shutil
import signal
import subprocess
import sys

import pytest
import torch

from ckpt_callbacks import Every, KeepLast, Metric, Policy, open_run
from ckpt_callbacks.lightning import LightningCheckpoint, ModelCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt
from tests.cli.test_adopt import Scored
from tests.drop_ins.lightning_runs import BOTH, Original, files, fit
from tests.support.processes import ROOT

SCORED = {"model": Scored, "limit_train_batches": 4}

pytestmark = pytest.mark.filterwarnings("ignore")


def callback(cls, dirpath):
    return cls(dirpath, monitor="score", mode="max", save_top_k=2, save_last=True)


@pytest.fixture
def saved(tmp_path):
    """Two epochs of the original, with a file that it did not rank."""
    fit(callback(Original, tmp_path / "run"), Original(tmp_path / "run", "other"), max_epochs=2, **SCORED)
    return tmp_path / "run"


def known(dirpath):
    records = Manifest.read(dirpath).live()
    return {r.file: (r.step, {n: v for n, v in r.metrics.items() if n == "score"}, r.superseded) for r in records}


@pytest.mark.parametrize("first", ["adopted", "as it is"])
def test_a_drop_in_that_continues_puts_the_files_of_the_original_before_its_own(saved, first):
    if first == "adopted":
        ckpt("adopt", saved)
    dropped = callback(ModelCheckpoint, saved)
    assert fit(dropped, ckpt_path="last", max_epochs=4, **SCORED).global_step == 16
    assert files(saved) == ["epoch=1-step=8.ckpt", "epoch=2-step=12.ckpt", "last.ckpt", "other.ckpt"]
    assert known(saved) == {
        "epoch=1-step=8.ckpt": (8, {"score": pytest.approx(0.9)}, False),
        "other.ckpt": (8, {"score": pytest.approx(0.9)}, False),
        "epoch=2-step=12.ckpt": (12, {"score": pytest.approx(0.7)}, False),
        "last.ckpt": (16, {"score": pytest.approx(0.6)}, False),
    }
    run = open_run(saved)
    assert str(run.best().path) == dropped.best_model_path == str(saved / "epoch=1-step=8.ckpt")
    assert run.last().file == "last.ckpt" and len({record.run for record in Manifest.read(saved).live()}) == 1
    assert ckpt("verify", saved)[0] == ckpt("doctor", saved, "--dry-run")[0] == 0


def test_the_original_goes_on_from_there_and_the_drop_in_again(saved, tmp_path):
    alone = shutil.copytree(saved, tmp_path / "alone")
    for cls, epochs in (("drop-in", 3), ("original", 4), ("drop-in", 5)):
        last = callback(BOTH[cls], saved)
        fit(last, ckpt_path=saved / "last.ckpt", max_epochs=epochs, **SCORED)
        ckpt("adopt", saved)
    assert {path.rpartition("/")[2]: pytest.approx(float(score)) for path, score in last.best_k_models.items()} == {
        "epoch=1-step=8.ckpt": 0.9, "epoch=4-step=20.ckpt": 0.8,
    }  # fmt: skip
    assert files(saved) == ["epoch=1-step=8.ckpt", "epoch=4-step=20.ckpt", "last.ckpt", "other.ckpt"]
    assert files(alone) != files(saved) and ckpt("adopt", saved)[1] == f"{saved}: nothing to adopt\n"
    assert known(saved)["last.ckpt"][0] == 20 and open_run(saved).last().step == 20


def test_a_drop_in_that_begins_anew_supersedes_the_files_of_the_original(saved):
    fit(ModelCheckpoint(saved, "new"), max_epochs=1, **SCORED)
    assert known(saved) == {
        "epoch=0-step=4.ckpt": (4, {"score": pytest.approx(0.5)}, True),
        "epoch=1-step=8.ckpt": (8, {"score": pytest.approx(0.9)}, True),
        "other.ckpt": (8, {"score": pytest.approx(0.9)}, True),
        "last.ckpt": (8, {"score": pytest.approx(0.9)}, True),
        "new.ckpt": (4, {"score": pytest.approx(0.5)}, False),
    }
    assert open_run(saved).resume_path() == str(saved / "new.ckpt")


def test_no_record_is_made_of_what_the_original_may_be_writing(saved):
    fit(ModelCheckpoint(saved, "new"), Original(saved, "other", every_n_train_steps=3), max_epochs=1, **SCORED)
    assert [*known(saved)] == ["new.ckpt"]


def test_damaged_files_do_not_stop_a_drop_in(saved):
    (saved / "epoch=0-step=4.ckpt").write_bytes(b"")
    whole = (saved / "other.ckpt").read_bytes()
    at = whole.rindex(b"state_dict", 0, len(whole) // 2)
    (saved / "other.ckpt").write_bytes(whole[: at - 300] + bytes(300) + whole[at:])
    assert fit(callback(ModelCheckpoint, saved), ckpt_path="last", max_epochs=3, **SCORED).global_step == 12
    assert {*known(saved)} == {"epoch=1-step=8.ckpt", "epoch=2-step=12.ckpt", "last.ckpt"}


KILLED = """
import os, signal, sys
from ckpt_callbacks.store.journal import Journal
from tests.drop_ins.test_lightning_adopted import SCORED, ModelCheckpoint, callback, fit
append, calls = Journal.append, []
def kill(*given):
    calls.append(1)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return append(*given)
Journal.append = kill
fit(callback(ModelCheckpoint, sys.argv[1]), ckpt_path="last", max_epochs=3, **SCORED)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 4, 6])
def test_a_kill_while_a_drop_in_begins_loses_no_file(saved, at):
    command = [sys.executable, "-c", KILLED, saved, str(at)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert fit(callback(ModelCheckpoint, saved), ckpt_path="last", max_epochs=4, **SCORED).global_step == 16
    assert ckpt("adopt", saved)[0] == 0
    assert {*known(saved)} == {*files(saved)} >= {"epoch=1-step=8.ckpt", "last.ckpt", "other.ckpt"}
    assert ckpt("verify", saved)[0] == ckpt("doctor", saved, "--dry-run")[0] == 0


def test_a_policy_continues_from_an_adopted_file_and_deletes_none(saved):
    ckpt("adopt", saved)
    before = {name: (saved / name).read_bytes() for name in files(saved)}
    policy = Policy(Every(epochs=1), KeepLast(1), best_by=Metric("score", mode="max"))
    own = LightningCheckpoint(saved, policy, resume="auto")
    assert fit(own, max_epochs=4, **SCORED).global_step == 16
    assert own.last().step == 16 and not any(superseded for _, _, superseded in known(saved).values())
    assert {name: (saved / name).read_bytes() for name in before} == before
    assert torch.load(own.last().path, weights_only=True)["epoch"] == 3
    again = LightningCheckpoint(saved, policy, resume="auto")
    assert fit(again, max_epochs=5, **SCORED).global_step == 20
    assert {name: (saved / name).read_bytes() for name in before} == before
