"""Resumed runs, which end like the uninterrupted one."""

import gc
import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback
from torch.utils.data import (
    DataLoader,
)
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepAll, KeepLast, Policy
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.lightning.crash import HERE, Crash
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer, weights
from tests.support.forks import forks_of
from tests.support.variants import only_quick


@pytest.mark.parametrize(
    "settings",
    [
        dict(max_epochs=5),
        dict(max_steps=47, max_epochs=-1),
        dict(max_epochs=5, accumulate_grad_batches=3),
        dict(max_epochs=3, precision="64-true"),
    ],
    ids=["max_epochs", "max_steps", "accumulation", "double precision"],
)
def test_a_resumed_run_ends_like_the_uninterrupted_one(tmp_path, settings):
    whole, whole_trainer, _ = fit(tmp_path / "whole", **settings)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", extra=[Crash(11)], **settings)
    resumed, resumed_trainer, callback = fit(tmp_path / "cut", resume=True, **settings)
    assert torch.equal(weights(whole), weights(resumed))
    assert (whole_trainer.global_step, whole_trainer.current_epoch) == (
        resumed_trainer.global_step,
        resumed_trainer.current_epoch,
    )
    assert {(r.run, r.attempt) for r in callback.records()} == {
        (callback.records()[0].run, 1),
        (callback.records()[0].run, 2),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "plateau, settings",
    [
        (None, dict(max_epochs=3)),
        pytest.param(None, dict(max_steps=27, max_epochs=-1), marks=pytest.mark.slow),
        pytest.param("epoch", dict(max_epochs=3, val_check_interval=0.4), marks=pytest.mark.slow),
        ("step", dict(max_epochs=3, val_check_interval=0.4)),
        ("epoch", dict(max_epochs=3, accumulate_grad_batches=2)),
    ],
    ids=["max_epochs", "max_steps", "plateau by epoch", "plateau by step", "accumulation"],
)
@pytest.mark.parametrize("loader", only_quick([StatefulDataLoader, DataLoader], DataLoader), ids=["stateful", "plain"])
def test_a_run_resumes_exactly_at_any_step(tmp_path, monkeypatch, loader, plateau, settings):
    def with_plateau(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2, factor=0.5)
        monitor = {"epoch": "val_loss", "step": "train_loss"}[plateau]
        config = {
            "scheduler": schedule,
            "monitor": monitor,
            "interval": plateau,
            "frequency": 2 if plateau == "step" else 1,
        }
        return {"optimizer": optimizer, "lr_scheduler": config}

    if plateau:
        monkeypatch.setattr(Model, "configure_optimizers", with_plateau)
    policy = Policy(Every(steps=1), KeepLast(2))
    whole, fitter, _ = fit(tmp_path / "whole", policy, loader=loader, **settings)
    for step in (4, fitter.global_step // 3, fitter.global_step * 2 // 3):  # in an epoch, at its end, at another's
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path / f"{step}", policy, loader=loader, extra=[Crash(step)], **settings)
        resumed, again, _ = fit(tmp_path / f"{step}", policy, loader=loader, resume=True, **settings)
        assert torch.equal(weights(whole), weights(resumed)), f"resumed at step {step}"
        assert (again.global_step, again.current_epoch) == (fitter.global_step, fitter.current_epoch)
        assert again.callback_metrics == fitter.callback_metrics, "the epoch's metrics cover all of its batches"


def test_another_model_is_one_line_that_names_the_layers(tmp_path):
    fit(tmp_path, max_epochs=1)
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    said = r"net\.0\.weight \(\(8, 10\) in the file, \(9, 10\) in the model\)"
    with pytest.raises(ResumeError, match=said) as caught:
        trainer(callback).fit(Model(9), *loaders(), ckpt_path=callback.resume_path())
    assert "\n" not in str(caught.value) and "ckpt_path" in str(caught.value)
    fit(tmp_path, resume=True, max_epochs=2)  # the directory is free


class Counting(torch.nn.Module):
    """Has a state of its own, which grows."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(len(self.seen))
        return x

    def get_extra_state(self):
        return torch.tensor(self.seen)

    def set_extra_state(self, state):
        self.seen = state.tolist()


class Observing(torch.nn.Module):
    """Takes a buffer of any shape, as observers of quantization do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("range", torch.zeros(0))

    def forward(self, x):
        self.range = x.detach().amax(0)
        return x

    def _load_from_state_dict(self, state, prefix, *rest):
        self.range = torch.empty_like(state[prefix + "range"])
        super()._load_from_state_dict(state, prefix, *rest)


@pytest.mark.parametrize("part", [Counting, Observing, lambda: torch.nn.LazyLinear(8)])
def test_a_model_whose_parts_load_in_their_own_way_resumes_exactly(tmp_path, part):
    def train(name, resume=False, **settings):
        seed_everything(7, verbose=False)
        module, callback = Model(), LightningCheckpoint(tmp_path / name, EACH_EPOCH)
        module.net.insert(1, part())
        path = callback.resume_path() if resume else None
        trainer(callback, num_sanity_val_steps=0, **settings).fit(module, *loaders(), ckpt_path=path)
        return module

    whole = train("whole", max_epochs=3)
    train("cut", max_epochs=1)
    assert torch.equal(weights(whole), weights(train("cut", resume=True, max_epochs=3)))


def with_plateau(self, frequency=1):
    optimizer = torch.optim.Adam(self.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2, factor=0.5)
    plateau = {"scheduler": schedule, "monitor": "val_loss", "frequency": frequency}
    return {"optimizer": optimizer, "lr_scheduler": plateau}


def test_a_plateau_schedule_by_epoch_survives_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "configure_optimizers", with_plateau)
    whole, whole_trainer, _ = fit(tmp_path / "whole", max_epochs=6)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", extra=[Crash(31)], max_epochs=6)
    resumed, resumed_trainer, _ = fit(tmp_path / "cut", resume=True, max_epochs=6)
    rates = [t.optimizers[0].param_groups[0]["lr"] for t in (whole_trainer, resumed_trainer)]
    assert rates[0] == rates[1] < 0.02
    assert torch.equal(weights(whole), weights(resumed))


def test_the_metric_of_a_schedule_does_not_count_as_new_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "configure_optimizers", lambda self: with_plateau(self, frequency=2))
    settings = dict(policy=Policy(Every(epochs=1), KeepAll()), check_val_every_n_epoch=2, num_sanity_val_steps=0)
    fit(tmp_path, max_epochs=2, **settings)
    _, _, callback = fit(tmp_path, max_epochs=4, resume=True, **settings)
    assert ["val_loss" in record.metrics for record in callback.records()] == [False, True, False, True]


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="asks Linux what is mapped")
def test_what_a_run_was_resumed_from_lies_in_the_file_only_until_the_first_step(tmp_path):
    gc.collect()  # objects of earlier tests, whose tracebacks keep loaded checkpoints alive
    mapped, change, seen = [], 1e6, []

    class Watch(Callback):
        def on_train_start(self, trainer, module):
            mapped.append(_maps_a_checkpoint())
            for state in trainer.optimizers[0].state.values():
                state["exp_avg"].fill_(change)

        def on_train_batch_end(self, trainer, *_):
            mapped.append(_maps_a_checkpoint())
            seen.append(max(float(s["exp_avg"].max()) for s in trainer.optimizers[0].state.values()))

    fit(tmp_path, max_epochs=1)
    fit(tmp_path, max_epochs=2, resume=True, extra=[Watch()])
    assert mapped[0] and not any(mapped[1:])
    assert seen[0] > change / 2, "what was changed before the first step stays changed"


def _maps_a_checkpoint():
    return ".ckpt" in Path("/proc/self/maps").read_text()


def test_a_killed_run_continues_as_if_nothing_had_happened(tmp_path):
    """Killed with -9 when the journal shows epoch 2 committed; compared at the end of epoch 3."""
    script = HERE / "train_slowly.py"

    def command(name):
        return script, tmp_path / name, tmp_path / f"{name}.jsonl"

    forks = forks_of()
    forks.run(*command("whole"))
    child = forks.start(*command("killed"), 0.1)
    try:
        deadline = time.monotonic() + 120
        while not any(r.epoch == 2 for r in Manifest.read(tmp_path / "killed").live()):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = (tmp_path / "killed.jsonl").read_text().splitlines()
    assert len(before) < 4, "the kill came before the end"
    forks.run(*command("killed"))
    facts = {
        name: {e["epoch"]: e for e in map(json.loads, (tmp_path / f"{name}.jsonl").read_text().splitlines())}
        for name in ("whole", "killed")
    }
    assert facts["killed"][3] == facts["whole"][3]
    assert facts["killed"] == facts["whole"]
    assert facts["whole"][3]["stale"] > 0 and facts["whole"][3]["learning_rate"] < 0.02
