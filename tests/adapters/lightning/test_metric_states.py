"""The epoch's metrics of torchmetrics objects after a resume in mid-epoch."""

import gc
import weakref

import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.lightning.metric_states import covers_epoch, restore_metric_states
from tests.adapters.lightning.task import Model, fit, trainer

BINARY = torchmetrics.classification


class Collection(Model):
    """Logs metrics of which some share one state."""

    def __init__(self):
        super().__init__()
        self.scores = torchmetrics.MetricCollection([BINARY.BinaryPrecision(), BINARY.BinaryRecall()])

    def training_step(self, batch, index):
        self.scores.update(self.net(batch[0]).sigmoid(), (batch[1] > 1.5).long())
        self.log_dict(self.scores, on_step=False, on_epoch=True)
        return super().training_step(batch, index)


class Predictions(Collection):
    """Logs metrics that keep all predictions, and one that wraps another."""

    def __init__(self):
        super().__init__()
        best = torchmetrics.MinMaxMetric(BINARY.BinaryAccuracy())
        self.scores = torch.nn.ModuleDict({"auc": BINARY.BinaryAUROC(), "best": best})

    def training_step(self, batch, index):
        for score in self.scores.values():
            score.update(self.net(batch[0]).sigmoid(), (batch[1] > 1.5).long())
        self.log("auc", self.scores["auc"], on_step=False, on_epoch=True)
        return Model.training_step(self, batch, index)


class Total(torchmetrics.Metric):
    """Has a plain attribute, and no state that torchmetrics knows."""

    total = 0.0

    def update(self, value):
        self.total += value

    def compute(self):
        return torch.tensor(self.total)

    def reset(self):
        super().reset()
        self.total = 0.0


class Elsewhere(Collection):
    """Logs also an object that keeps its state elsewhere."""

    def __init__(self):
        super().__init__()
        self.hidden = Total()

    def training_step(self, batch, index):
        self.hidden.update(1.0)
        self.log("hidden", self.hidden, on_step=False, on_epoch=True)
        return super().training_step(batch, index)


def test_what_one_trainer_restores_is_none_of_another_ones_business():
    """Two trainings may run in two threads."""

    def connected():
        module, made = Collection(), trainer()
        made.strategy.connect(module)
        return made, module.scores["BinaryPrecision"]

    (first, one), (second, other) = connected(), connected()
    one.update(torch.tensor([0.9]), torch.tensor([1]))
    states = {"scores.BinaryPrecision": {"states": dict(one.metric_state), "updates": 1}}
    restore_metric_states(first, states)
    restore_metric_states(second, {})
    assert covers_epoch(one) and not covers_epoch(other)
    restore_metric_states(first, {})
    assert not covers_epoch(one)


def test_what_was_restored_is_not_kept_alive():
    made, module = trainer(), Collection()
    made.strategy.connect(module)
    states = {"scores.BinaryPrecision": {"states": dict(module.scores["BinaryPrecision"].metric_state), "updates": 0}}
    restore_metric_states(made, states)
    gone = weakref.ref(module.scores["BinaryPrecision"])
    del made, module
    gc.collect()
    assert gone() is None


class Crash(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 17:
            raise ZeroDivisionError


@pytest.mark.parametrize("module", [Collection, pytest.param(Predictions, marks=pytest.mark.slow), Elsewhere])
def test_they_cover_the_whole_epoch(tmp_path, monkeypatch, caplog, module):
    monkeypatch.setattr("tests.adapters.lightning.task.Model", module)
    policy = Policy(Every(steps=3) | Every(epochs=1), KeepAll())
    _, _, whole = fit(tmp_path / "whole", policy, max_epochs=2)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", policy, extra=[Crash()], max_epochs=2)
    _, _, resumed = fit(tmp_path / "cut", policy, resume=True, max_epochs=2)
    expected, found = whole.last().metrics, dict(resumed.last().metrics)
    hidden = ["hidden"] if module is Elsewhere else []
    assert found == {name: value for name, value in expected.items() if name not in hidden}
    assert caplog.text.count("hidden will leave out its first batches (a torchmetrics object") == 3 * len(hidden), (
        "once a fit"
    )
