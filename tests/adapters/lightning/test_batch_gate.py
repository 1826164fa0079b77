"""A callback that skips batches until the horizon makes the same saves as one that observes each batch."""

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from ckpt_callbacks import At, Every, Improves, KeepAll, Metric, Policy, Predicate
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.testing import FakeClock
from tests.adapters.lightning.task import VAL, Model, data, fit, loaders, trainer
from tests.support.training import run_of

SAVE = Every(steps=7) | At(steps=[5]) | Every(seconds=0.065) | Improves(VAL)
AWAKE = SAVE | Predicate(lambda event: False)


class Time(lightning.Callback):
    """A batch takes a hundredth of a second."""

    def __init__(self, clock):
        self.clock = clock

    def on_train_batch_end(self, *_):
        self.clock.advance(0.01)


class Manual(Model):
    """Optimizes manually: not at each batch, and then twice."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        if index % 3 == 1:
            for _ in range(2):
                self.optimizers().zero_grad()
                self.manual_backward(torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))
                self.optimizers().step()


def observed(callback):
    """Every event that is reported to the run of ``callback``."""
    kinds, tell = [], run_of(callback).observe

    def observe(event, **facts):
        kinds.append(event.kind.value)
        return tell(event, **facts)

    run_of(callback).observe = observe
    return kinds


def train(dirpath, save, module, **settings):
    lightning.seed_everything(7, verbose=False)
    clock = FakeClock()
    callback = LightningCheckpoint(dirpath, Policy(save, KeepAll()), clock=clock)
    kinds = observed(callback)
    trainer(Time(clock), callback, max_epochs=2, **settings).fit(module(), *loaders())
    return [(r.step, r.epoch, r.reasons, dict(r.metrics)) for r in callback.records()], kinds.count("step_end")


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (Model, {}),
        (Model, {"accumulate_grad_batches": 3}),
        (Model, {"val_check_interval": 4}),
        (Model, {"val_check_interval": 7, "check_val_every_n_epoch": None, "max_steps": 17}),
        (Manual, {}),
    ],
    ids=["plain", "accumulating", "validating in mid-epoch", "validating by batches", "manual"],
)
def test_skipping_batches_does_not_change_what_is_saved(tmp_path, module, settings):
    expected, events = train(tmp_path / "awake", AWAKE, module, **settings)
    found, fewer = train(tmp_path / "resting", SAVE, module, **settings)
    assert found == expected and len(found) > 2
    assert fewer < events


class Stream(IterableDataset):
    """Data without a length."""

    def __iter__(self):
        return zip(*(column[:120] for column in data()), strict=True)


def updates(dirpath, save):
    """Return the steps of saves with accumulated gradients on data without a length, and the batches before each."""
    lightning.seed_everything(7, verbose=False)
    clock = FakeClock()
    callback = LightningCheckpoint(dirpath, Policy(save, KeepAll()), clock=clock)
    fitter = trainer(Time(clock), callback, max_epochs=2, accumulate_grad_batches=4)
    fitter.fit(Model(), DataLoader(Stream(), 4))
    held = [torch.load(r.path)["loops"]["fit_loop"]["epoch_loop.batch_progress"] for r in callback.records()]
    return [(r.step, progress["total"]["ready"]) for r, progress in zip(callback.records(), held, strict=True)]


def test_without_a_length_nor_a_horizon_it_saves_between_no_updates(tmp_path):
    expected = updates(tmp_path / "awake", Every(seconds=0.065) | Predicate(lambda event: False))
    found = updates(tmp_path / "resting", Every(seconds=0.065))
    assert found == expected and len(found) > 4
    assert all(batches % 30 % 4 == 0 for _, batches in found), "gradients of batches before it are in no file"


class Late(Model):
    """Begins to log a metric after some steps."""

    def training_step(self, batch, index):
        if self.global_step >= 4:
            self.log("late", float(10 - self.global_step % 10), on_step=True)
        return super().training_step(batch, index)


def test_a_metric_that_is_logged_at_steps_wakes_it_up(tmp_path):
    late = Metric("late", mode="min", per="step")
    expected, _ = train(tmp_path / "awake", Improves(late) | Predicate(lambda event: False), Late)
    found, _ = train(tmp_path / "resting", Improves(late), Late)
    assert [r[0] for r in found][:3] == [5, 6, 7]
    assert found == expected


class StopsLate(lightning.Callback):
    """Asks training to stop in mid-epoch."""

    def on_train_batch_end(self, fitter, *_):
        fitter.should_stop = fitter.global_step == 14


def test_a_stop_that_another_callback_asks_for_is_seen(tmp_path):
    _, _, callback = fit(tmp_path, Policy(Every(steps=1000)), extra=[StopsLate()])
    assert [(r.step, r.epoch, r.final) for r in callback.records()] == [(14, 1, True)]
