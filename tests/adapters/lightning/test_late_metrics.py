"""Metrics that are logged late, or never."""

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, Model, fit, loaders, trainer

MAP = Metric("val_map", mode="max")


class Late(Model):
    """Logs a metric from the third epoch on."""

    def on_validation_epoch_end(self):
        if self.current_epoch >= 2:
            self.log("val_map", float(self.current_epoch))


def test_a_metric_that_comes_later_is_no_error(tmp_path, caplog):
    policy = Policy(Every(epochs=1) | Improves(MAP), KeepAll(), stop=Patience(MAP, checks=3))
    ours = LightningCheckpoint(tmp_path, policy)
    trainer(ours, max_epochs=4).fit(Late(), *loaders())
    assert [r.metrics.get("val_map") for r in ours.records()] == [None, None, 2.0, 3.0]
    assert ours.best().epoch == 4
    assert caplog.text.count("the metric 'val_map' was never logged; logged names: train_loss") == 1


def test_without_a_validation_its_metrics_are_named_and_training_continues(tmp_path, caplog):
    policy = Policy(Every(epochs=1) | Improves(VAL), KeepAll(), stop=Patience(VAL, checks=2))
    *_, ours = fit(tmp_path, policy, limit_val_batches=0)
    assert [record.epoch for record in ours.records()] == [1, 2, 3] and ours.best() is None
    assert caplog.text.count("is an error after 10 epochs without it; does training have validation data?") == 1
    first, *_, last = [line for line in caplog.messages if "val_loss" in line]
    assert "the metric 'val_loss' needs a validation, and this fit has none; expected val_dataloaders" in first
    assert "it was never logged; logged names: train_loss, train_loss_epoch; early stopping by it never ran" in last
