"""Steps of runs in which Lightning counts none."""

import numpy
import pytest
import torch

from ckpt_callbacks import Every, Improves, KeepAll, OnException, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import BATCHES, VAL, Model, loaders, trainer
from tests.adapters.lightning.test_resuming_data import At, terminate
from tests.support.variants import only_quick

SAID = "Lightning counts no optimizer step"
EVERY_7 = Policy(Every(steps=7) | OnException(), KeepAll(), best_by=VAL)


class Own(Model):
    """Steps an optimizer of its own, beside the one that Lightning knows."""

    known, crash_at = torch.optim.Adam, None

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.own = [torch.optim.SGD(self.net.parameters(), 0.01)]

    def configure_optimizers(self):
        return None if self.known is None else self.known(self.parameters(), 0.02)

    def training_step(self, batch, index):
        if self.global_batch() == self.crash_at:
            raise ZeroDivisionError
        self.begin(index)
        torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]).backward()
        self.step(index)

    def global_batch(self):
        return self.current_epoch * BATCHES + self.trainer.fit_loop.epoch_loop.batch_idx

    def begin(self, index):
        self.net.zero_grad()

    def step(self, index):
        for optimizer in self.own:
            optimizer.step()


class Alone(Own):
    known = None


class TwoOwn(Own):
    def __init__(self):
        super().__init__()
        self.own = [torch.optim.SGD(self.net[n].parameters(), 0.01) for n in (0, 3)]


class Unwrapped(Own):
    """Steps Lightning's own optimizer, but not through Lightning."""

    def step(self, index):
        self.optimizers(use_pl_optimizer=False).step()


class Bank(Alone):
    """Has no optimizer, and fills a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.zeros(3))

    def training_step(self, batch, index):
        if self.global_batch() == self.crash_at:
            raise ZeroDivisionError
        self.bank += batch[0].mean() + torch.rand(3)


class Numpy(Own):
    """Has weights that are not updated by torch, which can be noticed only at the end of an epoch."""

    def step(self, index):
        for parameter in self.net.parameters():
            parameter.data -= torch.from_numpy(0.01 * numpy.asarray(parameter.grad))
        self.zero_grad()  # otherwise, Lightning's optimizer might still use them


def train(kind, dirpath, policy=EVERY_7, *extra, resume=False, crash_at=None, **settings):
    """Train; return the callback, and everything that was trained."""
    torch.manual_seed(1)
    module = kind()
    module.crash_at = crash_at
    callback = LightningCheckpoint(dirpath, policy)
    fitter = trainer(*extra, callback, **settings)
    fitter.fit(module, *loaders(), ckpt_path=callback.resume_path() if resume else None)
    return callback, torch.cat([value.flatten() for value in module.state_dict().values()])


UNCOUNTED = pytest.mark.parametrize(
    "kind", [Own, Bank, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Alone, TwoOwn, Unwrapped))]
)


@pytest.mark.filterwarnings("ignore:.*no optimizer")
@UNCOUNTED
def test_batches_are_counted_where_lightning_counts_no_step(tmp_path, kind, caplog):
    callback, _ = train(kind, tmp_path)
    assert [record.step for record in callback.records()] == [7, 14, 21, 28, 30]
    assert callback.records()[1].path.name.endswith("-001-14.ckpt")
    assert caplog.text.count(SAID) == 1 and "by hand" not in caplog.text


@pytest.mark.filterwarnings("ignore:.*no optimizer")
@UNCOUNTED
def test_the_count_continues_in_a_resume(tmp_path, kind):
    whole, expected = train(kind, tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        train(kind, tmp_path / "cut", crash_at=16)
    resumed, found = train(kind, tmp_path / "cut", resume=True)
    assert torch.equal(found, expected)
    assert [r.step for r in resumed.records()] == [7, 14, 16, *(r.step for r in whole.records()[2:])]


def test_an_epoch_without_a_step_is_counted_in_batches(tmp_path, caplog):
    callback, _ = train(Numpy, tmp_path)
    assert [record.step for record in callback.records()] == [10, 14, 21, 28, 30]
    assert caplog.text.count(SAID) == 1


def test_a_second_fit_of_the_same_trainer_counts_on(tmp_path, caplog):
    module, callback = Own(), LightningCheckpoint(tmp_path, EVERY_7)
    fitter = trainer(callback, max_epochs=1)
    fitter.fit(module, *loaders())
    fitter.fit_loop.max_epochs = 2
    fitter.fit(module, *loaders())
    assert [record.step for record in callback.records()] == [7, 10, 14, 20]
    assert caplog.text.count(SAID) == 1 and "a new run begins" not in caplog.text


class Moments(Own):
    """Has a state that no checkpoint holds."""

    def __init__(self):
        super().__init__()
        self.own = [torch.optim.Adam(self.net.parameters(), 0.01)]


class Saved(Moments):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["own"] = self.own[0].state_dict()

    def on_load_checkpoint(self, checkpoint):
        self.own[0].load_state_dict(checkpoint["own"])


@pytest.mark.parametrize("kind, lost", [(Moments, True), pytest.param(Saved, False, marks=pytest.mark.slow)])
def test_the_state_of_an_own_optimizer_is_named_if_no_checkpoint_holds_it(tmp_path, kind, lost, caplog):
    _, expected = train(kind, tmp_path / "whole")
    assert caplog.text.count("no checkpoint holds the state of Adam, which is not one of self.optimizers()") == lost
    with pytest.raises(ZeroDivisionError):
        train(kind, tmp_path / "cut", crash_at=16)
    assert torch.equal(train(kind, tmp_path / "cut", resume=True)[1], expected) is not lost


class Rare(Own):
    """Accumulates gradients over more than an epoch, and steps an optimizer of its own in between."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.own = [torch.optim.SGD([self.scale], 0.01)]

    def begin(self, index):
        if self.global_batch() % 12 == 0:
            self.net.zero_grad()

    def step(self, index):
        self.own[0].step()
        if self.global_batch() % 12 == 11:
            self.optimizers().step()


def test_steps_that_are_rare_are_counted_as_they_are(tmp_path, caplog):
    callback, _ = train(Rare, tmp_path, Policy(Every(steps=1), KeepAll()), limit_val_batches=0)
    assert [record.step for record in callback.records()] == [1, 2]
    assert SAID not in caplog.text


class Rival(Own):
    """Steps an optimizer of its own in each batch, and Lightning's in every fourth."""

    def step(self, index):
        super().step(index)
        if self.global_batch() % 4 == 0:
            self.optimizers().step()
        self.zero_grad()


def test_steps_between_those_of_another_optimizer_are_counted_as_they_are(tmp_path, caplog):
    callback, _ = train(Rival, tmp_path, Policy(Every(steps=1), KeepAll()), limit_val_batches=0)
    assert [record.step for record in callback.records()] == [*range(1, 9), 8], "the last one is final"
    assert SAID not in caplog.text


class Later(Moments):
    """Begins to step its own optimizer after a few steps of Lightning's."""

    def step(self, index):
        (self.optimizers() if self.global_batch() < 5 else self.own[0]).step()


class LaterSaved(Later, Saved):
    """Saves its state."""


class LaterNumpy(Later):
    def step(self, index):
        self.optimizers().step() if self.global_batch() < 5 else Numpy.step(self, index)


class LaterBoth(Later):
    def step(self, index):
        self.optimizers().step()
        if self.global_batch() >= 5:
            self.own[0].step()


LATER = {
    Later: ([7, 10, 14, 20, 21, 28, 30], True, True),
    LaterNumpy: ([10, 14, 20, 21, 28, 30], True, False),
    LaterBoth: ([7, 10, 14, 20, 21, 28, 30], False, True),
}


@pytest.mark.parametrize(
    "kind", [Later, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (LaterNumpy, LaterBoth))]
)
def test_an_optimizer_that_begins_to_step_later_is_noticed(tmp_path, kind, caplog):
    """In its second batch; after other updates, at the end of the epoch."""
    steps, counts_batches, is_torch = LATER[kind]
    policy = Policy(Every(steps=7) | Improves(VAL), KeepAll(), best_by=VAL)
    callback, _ = train(kind, tmp_path, policy)
    assert [record.step for record in callback.records()] == steps
    assert caplog.text.count(SAID + " after step 5") == counts_batches
    assert caplog.text.count("no checkpoint holds the state of Adam") == is_torch
    for record in callback.records():
        if "val_loss" in record.metrics:
            assert record.metrics["val_loss"] == pytest.approx(measured(record), rel=1e-5)


def measured(record):
    """Return the loss of the weights in a checkpoint."""
    module = Model().eval()
    module.load_state_dict(torch.load(record.path, weights_only=True)["state_dict"])
    x, y = next(iter(loaders()[1]))
    with torch.no_grad():
        return float(torch.nn.functional.mse_loss(module.net(x), y))


@pytest.mark.parametrize("crash_at", only_quick([4, 5, 7, 8, 17], 5))
def test_steps_that_were_counted_late_are_counted_on_in_a_resume(tmp_path, crash_at):
    whole, expected = train(LaterSaved, tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        train(LaterSaved, tmp_path / "cut", crash_at=crash_at)
    resumed, found = train(LaterSaved, tmp_path / "cut", resume=True)
    assert torch.equal(found, expected)
    assert [r.step for r in resumed.records()] == sorted({crash_at, *(record.step for record in whole.records())})


def test_a_signal_after_the_change_saves_what_was_trained(tmp_path):
    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
    _, expected = train(LaterSaved, tmp_path / "whole", policy)
    with pytest.raises(SystemExit):
        train(LaterSaved, tmp_path / "cut", policy, At("on_train_batch_start", 9, terminate))
    resumed, found = train(LaterSaved, tmp_path / "cut", policy, resume=True)
    assert resumed.records()[0].step == 9 and torch.equal(found, expected)
