"""Runs that end in NaN, and are started again."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, KeepBest, KeepLast, Metric, NonFinite, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, fit, loaders, trainer, weights
from tests.support.processes import ENVIRONMENT

BATCH = Metric("train_loss_step", mode="min")
EACH = Policy(Every(epochs=1), KeepLast(2))


class Spoil(Callback):
    """Bad data in one batch: its gradients, and so the weights, become NaN."""

    def __init__(self, step=15):
        self.step = step

    def on_before_optimizer_step(self, trainer, module, optimizer):
        if trainer.global_step == self.step:
            for parameter in module.parameters():
                parameter.grad.fill_(torch.nan)


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(EACH, id="nothing ends it"),  # and no rule keeps a good checkpoint
        pytest.param(replace(EACH, stop=NonFinite("val_loss")), id="the policy ends it", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_ended_in_nan_continues_from_the_last_good_checkpoint(tmp_path, caplog, policy):
    _, _, first = fit(tmp_path / "cut", policy, extra=[Spoil()], max_epochs=4)
    last = first.last()
    assert (last.finite, last.resumable) == (False, False) and "NaN or infinity in its weights" in caplog.text
    whole, *_ = fit(tmp_path / "whole", policy, max_epochs=4)
    again, _, ours = fit(tmp_path / "cut", policy, resume=True, max_epochs=4)
    assert torch.equal(weights(again), weights(whole))
    assert "NaN or infinity in the weights" in caplog.text and ours.last().finite and ours.last().epoch == 4


def test_a_good_metric_of_the_batch_that_made_nan_never_ranks(tmp_path):
    """It was measured before the update."""
    policy = Policy(Every(steps=1), KeepBest(30, by=BATCH))
    _, fitter, ours = fit(tmp_path, policy, extra=[Spoil(4)], max_steps=5, max_epochs=1)
    last = ours.last()
    assert last.step == 5 and not last.finite and torch.isfinite(torch.tensor(last.metrics["train_loss_step"]))
    assert ours.best().finite and fitter.checkpoint_callback.best_model_path == str(ours.best().path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "arguments"),
    [({}, {"staging": "none"}), ({}, {"background": False}), ({"precision": "bf16-true"}, {})],
    ids=["no copy", "in the foreground", "bfloat16"],
)
def test_every_writer_looks_for_nan(tmp_path, settings, arguments):
    policy = Policy(Every(epochs=1), KeepAll())
    *_, ours = fit(tmp_path, policy, extra=[Spoil()], arguments=arguments, max_epochs=2, **settings)
    assert [record.finite for record in ours.records()] == [True, False]


class Masked(Model):
    """A mask of infinities, in a buffer and in a frozen parameter."""

    def __init__(self):
        super().__init__()
        mask = torch.full((3, 3), -torch.inf).triu(1)
        self.register_buffer("mask", mask)
        self.frozen = torch.nn.Parameter(mask.clone(), requires_grad=False)


@pytest.mark.slow
def test_masks_may_be_infinite(tmp_path):
    ours = LightningCheckpoint(tmp_path, EACH)
    trainer(ours, max_epochs=1).fit(Masked(), *loaders())
    assert ours.last().finite and ours.resume_path() == str(ours.last().path)


def test_a_resume_from_nan_says_so_if_the_record_cannot(tmp_path, caplog):
    fit(tmp_path, EACH, extra=[Spoil(5)], max_epochs=1)
    (lost,) = tmp_path.rglob("manifest.jsonl")
    lost.unlink()
    *_, ours = fit(tmp_path, EACH, resume=True, max_epochs=2)
    assert ours.records()[0].finite  # it was restored from its file
    assert caplog.text.count("the loaded weights hold NaN or infinity") == 1


@pytest.mark.slow
def test_nan_in_the_part_of_another_process_is_found(tmp_path):
    command = [sys.executable, str(Path(__file__).parent / "train_sharded.py"), str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    finite, resumed = json.loads(done.stdout.splitlines()[-1])
    assert [*finite.values()][:2] == [True, False] and not any([*finite.values()][1:])
    assert resumed == next(iter(finite))
