"""Data that ends before its length, and loaders whose state is loaded late."""

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, Improves, KeepAll, KeepLast, Metric, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model, data, digest, loaders, trainer
from tests.support.variants import only_quick

pytestmark = pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined")
TRAIN_LOSS = Metric("train_loss_epoch", mode="min")
EPOCHS = Policy(Every(epochs=1) | Improves(TRAIN_LOSS), KeepAll(), best_by=TRAIN_LOSS)


class TooLong(IterableDataset):
    """Reports more rows than it yields; workers share them."""

    def __init__(self, claimed):
        self.claimed, (self.x, self.y) = claimed, data()

    def __len__(self):
        return self.claimed

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for row in range(first, 120, step):
            yield self.x[row], self.y[row]


class TooLongAndStateful(TooLong):
    """Knows its position, even at its end."""

    at = 0

    def __iter__(self):
        while self.at < 120:
            self.at += 1
            yield self.x[self.at - 1], self.y[self.at - 1]
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Endless(IterableDataset):
    """A stream without a length."""

    def __iter__(self):
        return zip(*(column[:120] for column in data()), strict=True)


SHORT = {
    "a batch less": lambda: DataLoader(TooLong(130), 12),
    "half of it": lambda: DataLoader(TooLong(240), 12),
    "drop_last with workers": lambda: DataLoader(TooLong(120), 7, drop_last=True, num_workers=2),
    "stateful": lambda: StatefulDataLoader(TooLongAndStateful(135), 12),
    "a limit": lambda: DataLoader(Endless(), 12),
}
BATCHES = {name: 16 if "drop_last" in name else 10 for name in SHORT}


def train(dirpath, loader, policy=EPOCHS, *, resume=False, extra=(), module=Model, **settings):
    seed_everything(7, verbose=False)
    module, callback = module(), LightningCheckpoint(dirpath, policy)
    fitter = trainer(*extra, callback, **{"num_sanity_val_steps": 0, **settings})
    path = callback.resume_path() if resume else None
    fitter.fit(module, loader(), loaders()[1], ckpt_path=path)
    return digest(module, fitter), callback


@pytest.mark.parametrize("name", SHORT)
def test_an_epoch_counts_when_its_data_has_ended(tmp_path, caplog, name):
    _, callback = train(tmp_path, SHORT[name], **(dict(limit_train_batches=25) if name == "a limit" else {}))
    assert [(r.epoch, r.step) for r in callback.records()] == [(e, BATCHES[name] * e) for e in (1, 2, 3)]
    assert all("train_loss_epoch" in record.metrics for record in callback.records())
    assert callback.best() is not None and callback.final().epoch == 3
    assert caplog.text.count("the training data ended after") == 1
    assert f"ended after {BATCHES[name]} of " in caplog.text


def test_a_length_that_is_right_and_one_that_is_unknown_are_not_remarked_on(tmp_path, caplog):
    _, callback = train(tmp_path / "right", lambda: DataLoader(TooLong(120), 12))
    _, other = train(tmp_path / "unknown", lambda: DataLoader(Endless(), 12))
    assert [record.epoch for record in callback.records()] == [record.epoch for record in other.records()] == [1, 2, 3]
    assert "the training data ended" not in caplog.text


def test_an_epoch_that_training_left_early_still_does_not_count(tmp_path):
    _, callback = train(tmp_path, SHORT["a batch less"], max_steps=15, max_epochs=-1)
    assert [(r.epoch, r.step) for r in callback.records()] == [(1, 10), (1, 15)]


def test_patience_counts_epochs_of_short_data(tmp_path):
    patience = Patience(Metric("train_loss_epoch", mode="max", baseline=1e9), checks=2)
    _, callback = train(
        tmp_path, SHORT["a batch less"], Policy(Every(epochs=1), KeepAll(), stop=patience), max_epochs=9
    )
    assert [record.epoch for record in callback.records()] == [1, 2]


@pytest.mark.parametrize("step", only_quick([11, 14, 19, 20, 21], 14, 20))
@pytest.mark.parametrize("name", ["a batch less", "stateful"])
@pytest.mark.parametrize("every", [Every(epochs=1), Every(steps=1)], ids=["epochs", "steps"])
def test_short_data_resumes_exactly(tmp_path, name, step, every):
    policy = Policy(every, KeepLast(2))
    whole, _ = train(tmp_path / "whole", SHORT[name], policy)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "cut", SHORT[name], policy, extra=[Crash(step)])
    assert train(tmp_path / "cut", SHORT[name], policy, resume=True)[0] == whole


class Estimates(Callback):
    """Makes Lightning create the loaders before the checkpoint is loaded."""

    def __init__(self, hook):
        setattr(self, hook, lambda trainer, *_, **__: trainer.estimated_stepping_batches)


class OneCycle(Model):
    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def stateful(workers=0):
    dataset = TensorDataset(*(column[:120] for column in data()))
    return StatefulDataLoader(dataset, 12, shuffle=True, num_workers=workers)


def endless_and_stateful():
    class Unknown(TooLongAndStateful):
        __len__ = None

    return StatefulDataLoader(Unknown(0), 12)


EARLY = {
    "configure_optimizers": dict(module=OneCycle, loader=stateful),
    "with workers": dict(module=OneCycle, loader=lambda: stateful(2)),
    "on_fit_start": dict(extra=[Estimates("on_fit_start")], loader=stateful),
    "setup": dict(extra=[Estimates("setup")], loader=stateful),
    "validation in mid-epoch": dict(module=OneCycle, loader=stateful, val_check_interval=4),
    "no length": dict(extra=[Estimates("on_fit_start")], loader=endless_and_stateful, max_steps=30),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", only_quick(EARLY, "configure_optimizers"))
def test_a_loader_that_was_made_before_its_state_was_loaded_keeps_its_place(tmp_path, name):
    policy, settings = Policy(Every(steps=1), KeepLast(2)), dict(EARLY[name])
    extra = settings.pop("extra", [])
    whole, _ = train(tmp_path / "whole", policy=policy, extra=extra, **settings)
    for step in (3, 8, 20, 24):
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / f"{step}", policy=policy, extra=[*extra, Crash(step)], **settings)
        resumed, _ = train(tmp_path / f"{step}", policy=policy, extra=extra, resume=True, **settings)
        assert resumed == whole, f"resumed at step {step}"
