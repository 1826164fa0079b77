"""Metrics of an epoch that was resumed midway: those that cover only its last batches neither rank nor stop."""

import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Policy, Reaches
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model
from tests.adapters.lightning.test_module_hooks import train


class Collects(Model):
    """Collects values in a list, which is shorter after a resume."""

    def __init__(self):
        super().__init__()
        self.outputs = []

    def training_step(self, batch, index):
        self.outputs.append(1.0)
        return super().training_step(batch, index)

    def on_train_epoch_end(self):
        self.log("error", sum(self.outputs))
        self.outputs.clear()


class ByHand(Model):
    def __init__(self):
        super().__init__()
        self.count = torchmetrics.SumMetric()

    def training_step(self, batch, index):
        self.count.update(1.0)
        return super().training_step(batch, index)

    def on_train_epoch_end(self):
        self.log("error", self.count.compute())
        self.count.reset()


class LoggedTwice(Model):
    """Logs a torchmetrics object by step and by epoch, under two names."""

    def __init__(self):
        super().__init__()
        self.count = torchmetrics.SumMetric()

    def training_step(self, batch, index):
        self.count(torch.tensor(1.0))
        self.log("error", self.count, on_step=True, on_epoch=True)
        return super().training_step(batch, index)


class Sets(Callback):
    """Counts batches, and writes the number into `trainer.callback_metrics`."""

    def __init__(self):
        self.batches = 0

    def on_train_batch_end(self, *_):
        self.batches += 1

    def on_train_epoch_end(self, trainer, module):
        trainer.callback_metrics["error"] = torch.tensor(float(self.batches))
        self.batches = 0


CASES = {
    "a list": (Collects, list, "error"),
    "torchmetrics by hand": (ByHand, list, "error"),
    "torchmetrics under two names": (LoggedTwice, list, "error_epoch"),
    "a callback": (Model, lambda: [Sets()], "error"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_metric_of_a_part_of_an_epoch_neither_ranks_nor_stops(tmp_path, caplog, name):
    module, extra, metric = CASES[name]
    error = Metric(metric, mode="min")
    policy = Policy(Every(steps=3) | Improves(error), KeepAll(), stop=Reaches(error, 9.5), best_by=error)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, module, policy, extra=[*extra(), Crash(17)])
    assert "may cover only its last batches" not in caplog.text
    _, _, callback = train(tmp_path, module, policy, extra=extra(), resume=True)
    assert {record.metrics[metric] for record in callback.records() if metric in record.metrics} == {10.0}
    assert callback.best().metrics[metric] == 10 and callback.final().epoch == 3
    is_saved = module is LoggedTwice
    assert caplog.text.count("may cover only its last batches") == (not is_saved)
    assert "train_loss" not in "".join(m for m in caplog.messages if "may cover" in m), "its sums are in the file"
