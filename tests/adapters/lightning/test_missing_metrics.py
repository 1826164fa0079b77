"""Metrics under a name that is never logged: nothing that was trained is lost."""

import pytest

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, OnException, Policy
from ckpt_callbacks.errors import MetricError
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.task import Model, fit, loaders, trainer


class ByStep(Model):
    """Logs its training loss by step only, and validates two loaders."""

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        self.log("train/loss", loss, on_step=True)
        return loss

    def validation_step(self, batch, index, dataloader_idx=0):
        super().validation_step(batch, index)


def train(dirpath, policy, **settings):
    ours = LightningCheckpoint(dirpath, policy)
    fitter = trainer(ours, max_epochs=4, **settings)
    data, val = loaders()
    with pytest.raises(MetricError) as caught:
        fitter.fit(ByStep(), data, [val, val], ckpt_path=ours.resume_path())
    return str(caught.value), fitter.global_step, ours.records()


@pytest.mark.parametrize(
    ("name", "meant", "save"),
    [
        ("trian/loss", "train/loss", Every(epochs=1)),
        pytest.param("val_loss", "val_loss/dataloader_idx_0", OnException(), marks=pytest.mark.slow),
    ],
)
def test_the_epoch_is_saved_before_the_error_which_lists_all_names(tmp_path, name, meant, save):
    policy = Policy(save | Improves(Metric(name, mode="min")), KeepAll())
    error, _, [record] = train(tmp_path, policy)
    assert f"did you mean {meant!r}?" in error and "train/loss, train_loss" in error
    assert (record.step, record.resumable, record.exceptional) == (10, True, False)
    assert record.reasons[-1] == "before an error about a metric"


def test_a_name_that_the_sanity_check_disproves_is_an_error_before_the_first_step(tmp_path):
    error, step, records = train(tmp_path, Policy(Every(epochs=1), KeepBest(1, by=Metric("val-losss", mode="min"))))
    assert "'val-losss' was not logged by the validation before training" in error
    assert (step, records) == (0, [])


def test_a_misspelt_metric_deletes_nothing_of_an_earlier_start(tmp_path):
    fit(tmp_path)
    *_, records = train(tmp_path, Policy(Improves(Metric("trian/loss", mode="min")), KeepLast(1)), limit_val_batches=0)
    assert [record.epoch for record in records] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "keep", [KeepBest(1, by=Metric("quality", mode="max")), KeepBest(1, by=Metric("quality", mode="max")) | KeepLast(1)]
)
def test_what_a_metric_of_an_unlike_name_was_to_rank_stays_until_it_is_logged(tmp_path, keep):
    class Later(Model):
        def validation_step(self, batch, index):
            super().validation_step(batch, index)
            if self.current_epoch == 2:
                self.log("quality", 1.0)

    kept = []
    for epochs in (2, 3, 4):
        ours = LightningCheckpoint(tmp_path, Policy(Every(epochs=1), keep), resume="auto")
        trainer(ours, max_epochs=epochs).fit(Later(), *loaders())
        kept.append([record.epoch for record in ours.records()])
    assert kept == [[1, 2], [3], [3, 4]]


def test_a_metric_that_was_never_logged_deletes_nothing_before_the_first_epoch_after_a_restart(tmp_path):
    policy = Policy(Every(steps=5), KeepBest(1, by=Metric("quality", mode="max")) | KeepLast(1))
    kept = []
    for steps in (20, 25, 35):
        process_fits._fits.clear()  # as in a new process
        ours = LightningCheckpoint(tmp_path, policy, resume="auto")
        trainer(ours, max_steps=steps, max_epochs=-1).fit(Model(), *loaders())
        kept.append([record.step for record in ours.records()])
    first, second, third = kept
    assert first[-1] == 20 and second == [*first, 25] and third == [*second, 30, 35]
