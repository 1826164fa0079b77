"""Exceptions in the last batch of an epoch, which has begun and is not trained yet."""

import pytest
import torchmetrics
from torch.utils.data import DataLoader, IterableDataset

from ckpt_callbacks import Every, KeepAll, OnException, Policy
from tests.adapters.lightning.task import Model, digest, fit
from tests.adapters.lightning.test_resuming_data import At, crash
from tests.support.variants import only_quick

POLICY = Policy(Every(epochs=1) | OnException(), KeepAll())
CUTS = [
    (10, {}),
    (20, {}),
    (20, {"val_check_interval": 5}),
    (7, {"limit_train_batches": 7}),
    (10, {"accumulate_grad_batches": 3}),
]


class Logs(Model):
    """Logs a metric object."""

    def __init__(self):
        super().__init__()
        self.mean = torchmetrics.MeanMetric()

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        self.mean.update(loss.detach())
        self.log("mean", self.mean, on_step=False, on_epoch=True)
        return loss


def stream(dataset, size, shuffle=False):
    class Stream(IterableDataset):
        def __iter__(self):
            yield from dataset

    return DataLoader(Stream(), size)


@pytest.mark.parametrize(
    ("loader", "nth", "settings"),
    only_quick([(DataLoader, *cut) for cut in CUTS] + [(stream, 10, {})], (DataLoader, *CUTS[0])),
)
def test_a_run_that_fails_in_the_last_batch_of_an_epoch_resumes_exactly(tmp_path, monkeypatch, loader, nth, settings):
    monkeypatch.setattr("tests.adapters.lightning.task.Model", Logs)
    whole, fitter, kept = fit(tmp_path / "whole", POLICY, loader=loader, **settings)
    with pytest.raises(ZeroDivisionError):
        extra = [At("on_train_batch_start", nth, crash)]
        fit(tmp_path / "cut", POLICY, loader=loader, extra=extra, **settings)
    module, again, callback = fit(tmp_path / "cut", POLICY, loader=loader, resume=True, **settings)
    assert digest(module, again) == digest(whole, fitter)
    epochs = [record.metrics for record in callback.records() if "exception" not in record.reasons]
    assert epochs == [record.metrics for record in kept.records()] and "mean" in epochs[0]
