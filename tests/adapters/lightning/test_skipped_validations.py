"""Epochs and stops without a validation that could have followed, and validations that nothing announced."""

import pytest
import torch
from lightning import seed_everything
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Every, KeepAll, Metric, OnException, OnPreempt, Policy, Reaches
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model, digest, loaders, trainer
from tests.adapters.lightning.test_module_hooks import SwapsForValidation
from tests.adapters.lightning.test_resuming_data import At, crash, terminate
from tests.adapters.lightning.test_swapped_weights import StopsAt, trained

EMPTY = DataLoader(TensorDataset(torch.zeros(0, 10), torch.zeros(0, 1)), 10)
RULE = Every(epochs=1) | Every(steps=7) | OnException() | OnPreempt()


class StopsInItsHook(SwapsForValidation):
    def on_train_batch_end(self, *_):
        super().on_train_batch_end()
        self.trainer.should_stop = self.trainer.global_step == 3


def train(dirpath, *extra, make=Model, policy=None, resume=False, **settings):
    seed_everything(7, verbose=False)
    train_loader, val_loader = loaders()
    val_loader = settings.pop("val", val_loader)
    module, callback = make(), LightningCheckpoint(dirpath, policy or Policy(RULE, KeepAll()))
    fitter = trainer(*extra, callback, **{"num_sanity_val_steps": 0, **settings})
    fitter.fit(module, train_loader, val_loader, ckpt_path=callback.resume_path() if resume else None)
    return digest(module, fitter), [record.step for record in callback.records()]


def steps_saved(dirpath):
    return [record.step for record in LightningCheckpoint(dirpath, Policy(RULE, KeepAll())).records()]


@pytest.mark.parametrize(
    "settings",
    [
        dict(val=EMPTY, val_check_interval=4),
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                dict(val=EMPTY, val_check_interval=4, check_val_every_n_epoch=2),
                dict(val=None),
                dict(check_val_every_n_epoch=2),
                dict(val_check_interval=6),
            )
        ),
    ],
    ids=["empty", "empty, and every 2 epochs", "no loader", "every 2 epochs", "in mid-epoch"],
)
@pytest.mark.filterwarnings("ignore:.*zero length.*", "ignore:Total length.*")
def test_what_is_saved_does_not_depend_on_when_a_validation_runs(tmp_path, caplog, settings):
    whole, steps = train(tmp_path / "whole", **settings)
    assert steps == [7, 10, 14, 20, 21, 28, 30]
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "raises", Crash(16), **settings)
    with pytest.raises(SystemExit):
        train(tmp_path / "signal", At("on_train_batch_start", 17, terminate), **settings)
    assert steps_saved(tmp_path / "raises") == [7, 10, 14, 16]
    assert steps_saved(tmp_path / "signal")[:3] == [7, 10, 14] and steps_saved(tmp_path / "signal")[-1] >= 16
    assert train(tmp_path / "raises", resume=True, **settings)[0] == whole
    _, steps = train(tmp_path / "stopped", StopsAt(16), **settings)
    assert steps == [7, 10, 14, 16] and "validation" not in caplog.text


@pytest.mark.parametrize("raises", [crash, pytest.param(terminate, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stops", ["policy", "module"])
def test_the_validation_of_an_unforeseen_stop_saves_no_other_weights(tmp_path, stops, raises):
    """Only the stop brings the validation: the policy's own, or one by the module, at a batch that is skipped."""
    metric = Metric("train_loss_step", mode="min")
    policy = Policy(Every(steps=100) | OnException() | OnPreempt(), KeepAll())
    if stops == "policy":
        policy = Policy(policy.save, KeepAll(), Reaches(metric, 1e9))
    make = SwapsForValidation if stops == "policy" else StopsInItsHook
    train(tmp_path / "whole", make=make, policy=policy)
    with pytest.raises((ZeroDivisionError, SystemExit)):
        train(tmp_path / "cut", At("on_validation_batch_start", 1, raises), make=make, policy=policy)
    whole, cut = (LightningCheckpoint(tmp_path / name, policy).records() for name in ("whole", "cut"))
    by_step = {record.step: trained(record) for record in whole}
    assert all(torch.equal(trained(record), by_step[record.step]) for record in cut)
