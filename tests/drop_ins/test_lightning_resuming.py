"""Runs with the drop-in for ModelCheckpoint that are interrupted, and end as if they had not been."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from ckpt_callbacks import ResumeError
from ckpt_callbacks.lightning import ModelCheckpoint
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.task import Model
from tests.drop_ins.lightning_runs import BOTH, Original, Plateau, end_of, files, fit, fit_until
from tests.support.processes import ENVIRONMENT

SAVES = {
    "each epoch": {},
    "the best": {"monitor": "val_loss", "save_top_k": 2},
    "each third step": {"every_n_train_steps": 3},
    "each step": {"every_n_train_steps": 1, "save_top_k": -1},
}
VALIDATIONS = {"epoch": {}, "twice an epoch": {"val_check_interval": 0.5}, "none": {"limit_val_batches": 0}}
QUICK = [("each third step", "epoch", 14), ("the best", "twice an epoch", 27), ("each step", "epoch", 20)]
CASES = [(s, v, at) for s in SAVES for v in VALIDATIONS for at in (11, 14, 20, 27) if (s, v) != ("the best", "none")]


def callback(cls, dirpath, saves):
    return cls(dirpath=dirpath, save_last=True, **SAVES[saves])


@pytest.mark.parametrize(
    ("saves", "validation", "step"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_an_interrupted_run_ends_bit_equal(tmp_path, saves, validation, step):
    settings = {"model": Model if validation == "none" else Plateau, **VALIDATIONS[validation]}
    whole = fit(callback(ModelCheckpoint, tmp_path / "whole", saves), **settings)
    fit_until(step, callback(ModelCheckpoint, tmp_path / "parts", saves), **settings)
    again = callback(ModelCheckpoint, tmp_path / "parts", saves)
    resumed = fit(again, ckpt_path="last", **settings)
    assert resumed.global_step == whole.global_step == 30
    assert end_of(resumed) == end_of(whole)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    assert all(verify(record) is None for record in Manifest.read(tmp_path / "parts").live())


@pytest.mark.filterwarnings("ignore")
def test_the_original_does_not(tmp_path):
    whole = fit(callback(Original, tmp_path / "whole", "each third step"))
    fit_until(14, callback(Original, tmp_path / "parts", "each third step"))
    resumed = fit(callback(Original, tmp_path / "parts", "each third step"), ckpt_path="last")
    assert end_of(resumed) != end_of(whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("begins", "ends"), [("original", "drop-in"), ("drop-in", "original")])
def test_each_goes_on_from_the_files_of_the_other(tmp_path, begins, ends):
    made = {"dirpath": tmp_path, "monitor": "val_loss", "save_top_k": 2, "save_last": True}
    first = BOTH[begins](**made)
    fit(first, max_epochs=3)
    second = BOTH[ends](**made)
    fit(second, max_epochs=6, ckpt_path="last")
    assert len(second.best_k_models) == 2 and os.path.samefile(second.dirpath, tmp_path)
    assert set(second.best_k_models) - set(first.best_k_models)  # the ranking went on
    assert second.last_model_path == str(tmp_path / "last.ckpt")
    assert files(tmp_path) == sorted([*(os.path.basename(path) for path in second.best_k_models), "last.ckpt"])


class Descent(Plateau):
    """The same network with another optimizer."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.02)


def test_a_refused_resume_names_what_a_drop_in_takes(tmp_path):
    whole, weights = str(tmp_path / "whole.ckpt"), str(tmp_path / "weights.ckpt")
    only = ModelCheckpoint(tmp_path, "weights", "val_loss", save_weights_only=True)
    fit(ModelCheckpoint(tmp_path, filename="whole"), only, max_epochs=1)
    for path, model, why in (
        (
            weights,
            Plateau,
            f"of ModelCheckpoint with save_weights_only=False, such as {whole}, or .* pass no ckpt_path$",
        ),
        (whole, Descent, "; to continue with a new one, load its weights into the model and pass no ckpt_path$"),
        (whole, lambda: Plateau(9), "choose another directory, or pass no ckpt_path to start from scratch$"),
    ):
        with pytest.raises(ResumeError, match=why):
            fit(ModelCheckpoint(tmp_path), model=model, ckpt_path=path, max_epochs=2)


@pytest.mark.slow
def test_a_link_to_a_folder_is_replaced_and_not_written_into(tmp_path):
    """The original writes the newer state into the best checkpoint: "last over the best" in docs/drop-ins.md."""
    script = os.path.join(os.path.dirname(__file__), "train_folders.py")
    command = [sys.executable, script, str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    best = "epoch=2-step=6.ckpt"
    before = {best: 6, "last.ckpt": best}
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "original": [before, {best: 8, "last.ckpt": best}],
        "drop-in": [before, {best: 6, "last.ckpt": 8}],
    }


@pytest.mark.slow
@pytest.mark.parametrize("kill", [5, 12, 20, 26])
def test_killed_runs_end_bit_equal(tmp_path, kill):
    script = os.path.join(os.path.dirname(__file__), "train_lightning.py")

    def run(dirpath, *arguments):
        return subprocess.run([sys.executable, script, str(dirpath), *arguments], capture_output=True, text=True)

    whole = run(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert run(tmp_path / "parts", str(kill)).returncode == -signal.SIGKILL
    resumed = run(tmp_path / "parts")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    left = set(files(tmp_path / "parts")) - set(files(tmp_path / "whole"))
    assert set(files(tmp_path / "whole")) <= set(files(tmp_path / "parts"))
    assert {record.file for record in Manifest.read(tmp_path / "parts").live() if record.superseded} == left
